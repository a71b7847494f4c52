//! An instance's containers, what is wrong first, and its disks.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::Seen;
use crate::agents::health::{Container, ExitCode, FULL_PCT, Trouble};
use crate::clock::Moment;
use crate::page::words;

/// An agent may tell of thousands.
const SHOWN: usize = 500;

pub fn containers(seen: &Seen, with_logs: bool) -> Markup {
    let mut all: Vec<(Option<Trouble>, &Container)> = (seen.health.containers.iter().flatten())
        .map(|container| (container.trouble(seen.collected_at), container))
        .collect();
    all.sort_by_key(|(trouble, container)| {
        let rank = trouble.as_ref().map(|trouble| Reverse(trouble.kind));
        (Reverse(rank), container.state != "running", container.name.clone())
    });
    html! {
        section #containers data-live aria-labelledby="containers-title" {
            h2 #containers-title { "Containers " span.count { (words::count(all.len())) } }
            @match &seen.health.containers {
                None => p.nothing-here { "Nothing is known of containers on this VM." },
                Some(some) if some.is_empty() => p.nothing-here { "There are no containers on this VM." },
                Some(_) => { (table(seen, &all, with_logs)) }
            }
        }
    }
}

fn table(seen: &Seen, all: &[(Option<Trouble>, &Container)], with_logs: bool) -> Markup {
    html! {
        div.wide {
            table.containers role="table" {
                caption.unseen { "Containers, what is wrong first" }
                thead role="rowgroup" { tr role="row" {
                    @for (class, name) in [
                        ("", "Name"), ("", "State"), ("", "Health"), ("num", "Exit code"), ("num", "Restarts"),
                        ("", "Started"),
                    ] { th class=[(!class.is_empty()).then_some(class)] role="columnheader" scope="col" { (name) } }
                    @if with_logs { th role="columnheader" scope="col" { "Logs" } }
                } }
                tbody role="rowgroup" {
                    @for (trouble, container) in all.iter().take(SHOWN) {
                        (row(seen, trouble.as_ref(), container, with_logs))
                    }
                }
            }
        }
        @if all.len() > SHOWN { p.hint { "and " (words::count(all.len() - SHOWN)) " more" } }
    }
}

fn row(seen: &Seen, trouble: Option<&Trouble>, container: &Container, with_logs: bool) -> Markup {
    let started = container.started_at.as_deref().and_then(Moment::parse);
    let started = started.filter(|started| started.millis() > 0);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                (container.name)
                div.image { (container.image) }
            }
            td role="cell" {
                @match trouble {
                    Some(trouble) => {
                        span.pill.trouble { span aria-hidden="true" { "▲ " } (container.state) }
                        div.image { (trouble.words) }
                    }
                    None => span.pill.well[container.state == "running"] { (container.state) },
                }
            }
            td role="cell" data-name="Health" { (health(container)) }
            td.num role="cell" data-name="Exit code" {
                @match container.exit_code { Some(code) => (ExitCode(code)), None => "–" }
            }
            td.num role="cell" data-name="Restarts" {
                @match container.restarts { Some(restarts) => (restarts), None => "–" }
            }
            td role="cell" data-name="Started" {
                @match started { Some(started) => (words::ago(started, seen.now)), None => "–" }
            }
            @if with_logs {
                td role="cell" {
                    a href=(words::logs_path(seen.instance.common.id.as_str(), &container.name))
                        aria-label={ "Logs of " (container.name) } { "Logs" }
                }
            }
        }
    }
}

fn health(container: &Container) -> &str {
    match container.health.as_deref() {
        None | Some("none") => "no check",
        Some(health) => health,
    }
}

pub fn disks(seen: &Seen) -> Markup {
    html! {
        section #disks data-live aria-labelledby="disks-title" {
            h2 #disks-title { "Disks" }
            @if seen.health.disks.is_empty() {
                p.nothing-here { "Nothing is known of disks on this VM." }
            } @else {
                div.wide { table.disks {
                    thead { tr {
                        th scope="col" { "Mounted at" }
                        th.num scope="col" { "Space used" }
                        th.num scope="col" { "Inodes used" }
                    } }
                    tbody { @for (mount, disk) in seen.health.disks.iter().take(SHOWN) {
                        tr {
                            th scope="row" { (mount) }
                            (share(disk.used_pct)) (share(disk.inodes_pct))
                        }
                    } }
                } }
            }
        }
    }
}

fn share(pct: Option<f64>) -> Markup {
    html! {
        td.num.share {
            @match pct {
                Some(pct) => {
                    @if pct >= FULL_PCT { span.full { span aria-hidden="true" { "▲ " } (format!("{pct:.1} %")) span.unseen { ", full" } } }
                    @else { span { (format!("{pct:.1} %")) } }
                    svg.bar.full[pct >= FULL_PCT] viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                        rect width=(format!("{pct:.0}")) height="4" {}
                    }
                }
                None => span { "–" },
            }
        }
    }
}
