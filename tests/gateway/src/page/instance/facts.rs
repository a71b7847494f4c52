//! What an instance is: its name, its state, and what its agent has said of itself.

use std::time::Duration;

use maud::{Markup, html};

use super::Seen;
use crate::page::words;

pub fn head(seen: &Seen) -> Markup {
    let common = &seen.instance.common;
    let status = &common.status;
    html! {
        p.back { a href="/" { "← All instances" } }
        div.head {
            h1 { (common.id) }
            p.state #state hidden {}
        }
        section.now #now data-live aria-label="State" aria-live="polite" {
            @match &status.warning {
                Some(warning) => p.alarm {
                    span.pill.lost { span aria-hidden="true" { "✕" } " Lost" }
                    " since " (words::time(warning.since, &words::minute(warning.since))) ": " (warning.text)
                },
                None => p {
                    span.pill.well { span aria-hidden="true" { "●" } " Connected" }
                    span.since { " since " (words::time(status.since, &words::minute(status.since))) }
                },
            }
            @if let Some(before) = &status.last_warning {
                p.since {
                    "Previous warning: " (before.text) ", from "
                    (words::time(before.since, &words::minute(before.since))) " to "
                    (words::time(before.cleared_at, &words::minute(before.cleared_at)))
                }
            }
            (troubles(seen))
            @if !common.labels.is_empty() {
                ul.labels aria-label="Labels" { @for (name, value) in &common.labels {
                    li { a href={ "/?label=" (words::segment(&format!("{name}={value}"))) } { (name) "=" (value) } }
                } }
            }
        }
    }
}

fn troubles(seen: &Seen) -> Markup {
    let troubles = seen.record.snapshot.as_ref().map(|snapshot| &snapshot.troubles);
    html! {
        @if let Some(troubles) = troubles.filter(|troubles| !troubles.first.is_empty()) {
            ul.troubles aria-label="What is wrong" {
                @for trouble in &troubles.first {
                    li { span aria-hidden="true" { "▲ " } (trouble.words) }
                }
                @if troubles.more > 0 { li { "and " (troubles.more) " more" } }
            }
        }
    }
}

pub fn facts(seen: &Seen) -> Markup {
    let common = &seen.instance.common;
    let host = common.host.clone().unwrap_or_default();
    let now = seen.now;
    let uptime = seen.health.uptime_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    let load = seen.health.load.as_ref().map(|load| {
        let texts: Vec<String> = load.iter().take(3).map(|part| format!("{part:.2}")).collect();
        texts.join("  ")
    });
    let hardware = match (host.cpus, host.mem_total) {
        (None, None) => None,
        (cpus, memory) => Some(format!(
            "{} CPUs, {} memory",
            cpus.map_or("?".to_owned(), |cpus| cpus.to_string()),
            memory.map_or("?".to_owned(), words::bytes)
        )),
    };
    let build = common.build.as_deref();
    let rows: [(&str, Option<String>); 12] = [
        ("Agent", Some(version(&common.agent_version, build))),
        ("Address", Some(common.ip.clone())),
        ("System", host.distribution),
        ("Kernel", host.kernel),
        ("Hardware", hardware),
        ("Platform", Some(format!("{}, {}", common.os, common.arch))),
        ("Init system", host.init),
        ("Up for", uptime.map(words::duration)),
        ("Load", load),
        ("Swap in use", seen.health.swap_pct.map(|pct| format!("{pct:.0} %"))),
        ("Registers", Some(common.registers.to_string())),
        ("Boot", common.boot_id.clone()),
    ];
    html! {
        section #facts data-live aria-labelledby="facts-title" {
            h2 #facts-title { "About this VM" }
            dl.facts {
                @for (name, value) in rows {
                    @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
                }
                div { dt { "First seen" } dd { (words::time(common.first_seen, &words::minute(common.first_seen))) } }
                div { dt { "Last seen" } dd { (words::ago(common.status.last_seen, now)) } }
                @if let Some(at) = common.metrics_received_at {
                    div { dt { "Last values" } dd { (words::ago(at, now)) } }
                }
            }
            @if !seen.health.errors.is_empty() {
                h3 { "What the agent can't read" }
                dl.facts { @for (name, why) in seen.health.errors.iter().take(16) {
                    div { dt { (name) } dd { (why) } }
                } }
            }
        }
    }
}

fn version(version: &str, build: Option<&str>) -> String {
    match build {
        Some(build) => format!("{version} (build {build})"),
        None => version.to_owned(),
    }
}
