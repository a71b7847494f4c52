//! The overview as HTML.

use maud::{Markup, html};

use super::query::{Filter, Show};
use super::sight::{ROWS, Row, Sight};
use crate::agents::health::FULL_PCT;
use crate::agents::rank::Rank;
use crate::agents::status::Status;
use crate::clock::Moment;
use crate::page::{assets, words};

pub fn page(sight: &Sight, filter: &Filter, now: Moment) -> Markup {
    html! {
        link rel="stylesheet" href=(assets::path("overview.css"));
        div.head {
            h1 { "Instances" }
            p.state #state hidden {}
        }
        section #totals data-live aria-label="Totals" { (totals(sight, filter)) }
        (form(sight, filter))
        section #instances data-live aria-label="Instances found" { (found(sight, filter, now)) }
    }
}

fn totals(sight: &Sight, filter: &Filter) -> Markup {
    let totals = sight.totals;
    let chosen = |show| (filter.show == show).then_some("true");
    let behind = match &sight.newest {
        Some(newest) if totals.behind > 0 => format!("older than {newest}"),
        Some(newest) => format!("older than {newest}, the newest"),
        None => "of an older version".to_owned(),
    };
    html! {
        ul.totals {
            li { a href=(filter.showing(Show::All)) aria-current=[chosen(Show::All)] {
                strong { (words::count(totals.all)) } span { "instances" }
            } }
            li.bad[totals.wrong > 0] { a href=(filter.showing(Show::Wrong)) aria-current=[chosen(Show::Wrong)] {
                strong { (words::count(totals.wrong)) } span { "need attention" }
            } }
            li.bad[totals.lost > 0] { a href=(filter.showing(Show::Lost)) aria-current=[chosen(Show::Lost)] {
                strong { (words::count(totals.lost)) } span { "agents lost" }
            } }
            li title=(versions(sight)) { a href=(filter.showing(Show::Behind)) aria-current=[chosen(Show::Behind)] {
                strong { (words::count(totals.behind)) } span { (behind) }
            } }
        }
    }
}

fn versions(sight: &Sight) -> String {
    let some = sight.versions.iter().take(8);
    let texts: Vec<String> = some.map(|(version, count)| format!("{version}: {count}")).collect();
    texts.join(", ")
}

fn form(sight: &Sight, filter: &Filter) -> Markup {
    html! {
        form.filter method="get" action="/" role="search" {
            label { span { "Search" }
                input type="search" name="q" value=(filter.text) maxlength="512" spellcheck="false"
                    autocapitalize="off" placeholder="name, label, address, version";
            }
            label { span { "Label" }
                select name="label" {
                    option value="" { "any" }
                    @for (name, values) in &sight.labels {
                        optgroup label=(name) {
                            @for value in values { option value={ (name) "=" (value) } { (name) "=" (value) } }
                        }
                    }
                }
            }
            @for (name, value) in &filter.labels {
                input type="hidden" name="label" value={ (name) "=" (value) };
            }
            @match filter.show {
                Show::All => {}
                Show::Wrong => { input type="hidden" name="show" value="wrong"; }
                Show::Lost => { input type="hidden" name="show" value="lost"; }
                Show::Behind => { input type="hidden" name="show" value="behind"; }
            }
            button type="submit" { "Filter" }
            @if !filter.is_everything() { a href="/" { "Show all" } }
        }
        @if !filter.labels.is_empty() {
            ul.labels.chosen aria-label="Chosen labels" {
                @for (place, (name, value)) in filter.labels.iter().enumerate() {
                    li { a href=(filter.without_label(place)) {
                        (name) "=" (value) span aria-hidden="true" { " ×" } span.unseen { ", remove" }
                    } }
                }
            }
        }
    }
}

fn found(sight: &Sight, filter: &Filter, now: Moment) -> Markup {
    let (wrong, fine): (Vec<&Row>, Vec<&Row>) =
        sight.rows.iter().partition(|row| row.rank != Rank::Fine);
    let fine_count = sight.found - sight.wrong;
    html! {
        @if sight.totals.all == 0 {
            div.nothing {
                h2 { "No agent has registered yet" }
                p { "Install one on a VM, with this gateway's address and an agent token. It appears here within a second." }
            }
        } @else if sight.found == 0 {
            div.nothing {
                h2 { "Nothing found" }
                p { "No instance matches the filter. " a href="/" { "Show all" } }
            }
        }
        @if !wrong.is_empty() {
            h2 { "Needs attention " span.count { (words::count(sight.wrong)) } }
            (table("Instances that need attention", &wrong, filter, now))
        }
        @if !fine.is_empty() {
            h2 { @if sight.wrong > 0 { "All others " } @else { "All well " } span.count { (words::count(fine_count)) } }
            (table("Instances that are well", &fine, filter, now))
        }
        (pages(sight, filter))
    }
}

/// Roles are said again, because a phone shows rows as blocks, and browsers then forget what they are.
fn table(caption: &str, rows: &[&Row], filter: &Filter, now: Moment) -> Markup {
    html! {
        div.wide {
            table.instances role="table" aria-label=(caption) {
                thead role="rowgroup" { tr role="row" {
                    @for (class, name) in [
                        ("name", "Instance"), ("is", "State"), ("num share", "CPU"),
                        ("num share", "Memory"), ("num share", "Disk"), ("num lesser", "Containers"),
                        ("lesser", "Version"), ("lesser", "Last seen"),
                    ] {
                        th class=(class) role="columnheader" scope="col" { (name) }
                    }
                } }
                tbody role="rowgroup" { @for row in rows { (line(row, filter, now)) } }
            }
        }
    }
}

fn line(row: &Row, filter: &Filter, now: Moment) -> Markup {
    let common = &row.summary.common;
    let numbers = row.summary.metrics.as_ref();
    let (cpu, mem, disk) = (
        numbers.and_then(|numbers| numbers.cpu_pct),
        numbers.and_then(|numbers| numbers.mem_pct),
        numbers.and_then(|numbers| numbers.disk_pct),
    );
    let containers = numbers.and_then(|numbers| numbers.container_count);
    let id = common.id.as_str();
    html! {
        tr role="row" {
            th.name role="rowheader" scope="row" {
                a href=(words::instance_path(id)) { (id) }
                @if !common.labels.is_empty() {
                    ul.labels { @for (name, value) in common.labels.iter().take(6) {
                        li { a href=(filter.with_label(name, value)) { (name) "=" (value) } }
                    } }
                }
            }
            td.is role="cell" {
                (state(&common.status, row.rank, now))
                @if !row.wrong.is_empty() { ul.wrong { @for words in &row.wrong { li { (words) } } } }
            }
            (share("CPU", cpu)) (share("Memory", mem)) (share("Disk", disk))
            td.num.lesser role="cell" { @match containers { Some(count) => (count), None => "–" } }
            td.lesser role="cell" { (common.agent_version) }
            td.lesser role="cell" { (words::ago(common.status.last_seen, now)) }
        }
    }
}

fn state(status: &Status, rank: Rank, now: Moment) -> Markup {
    let (class, sign, word) = match rank {
        Rank::Lost => ("lost", "✕", "Lost"),
        Rank::Trouble(kind) => ("trouble", "▲", kind.words()),
        Rank::UpgradeFailed => ("trouble", "▲", "Upgrade failed"),
        Rank::Behind => ("behind", "▽", "Old version"),
        Rank::Fine => ("well", "●", "Connected"),
    };
    html! {
        span.pill.(class) { span aria-hidden="true" { (sign) } " " (word) }
        @if rank == Rank::Lost {
            " " span.since { "since " (words::time(status.since, &words::minute(status.since))) ", "
                (words::ago(status.since, now)) }
        }
    }
}

fn share(name: &str, pct: Option<f64>) -> Markup {
    html! {
        td.num.share role="cell" data-name=(name) {
            @match pct {
                Some(pct) => {
                    span { (format!("{pct:.0} %")) }
                    svg.bar.full[pct >= FULL_PCT] viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                        rect width=(format!("{pct:.0}")) height="4" {}
                    }
                }
                None => span { "–" },
            }
        }
    }
}

fn pages(sight: &Sight, filter: &Filter) -> Markup {
    let first = sight.page * ROWS + 1;
    let last = first + sight.rows.len().saturating_sub(1);
    html! {
        @if sight.pages > 1 {
            nav.pages aria-label="Pages" {
                @if sight.page > 0 { a rel="prev" href=(filter.at_page(sight.page - 1)) { "← Before" } }
                span { (words::count(first)) "–" (words::count(last)) " of " (words::count(sight.found)) }
                @if sight.page + 1 < sight.pages { a rel="next" href=(filter.at_page(sight.page + 1)) { "Next →" } }
            }
        }
    }
}
