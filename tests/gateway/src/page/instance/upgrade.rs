//! The last upgrade in words, what to do about it, and the form that asks for one.

use maud::{Markup, html};

use super::Seen;
use crate::access::scope::Scope;
use crate::agents::register::RollBack;
use crate::agents::upgrade::{Stage, Upgrade};
use crate::api::upgrade::UpgradeRequest;
use crate::page::visitor::Visitor;
use crate::page::words;

/// What was asked for and refused at once.
#[derive(Default)]
pub struct Attempt {
    pub request: Option<UpgradeRequest>,
    pub failure: Option<String>,
}

pub fn section(seen: &Seen, visitor: &Visitor, attempt: &Attempt) -> Markup {
    html! {
        section.upgrade #upgrade aria-labelledby="upgrade-title" {
            h2 #upgrade-title { "Upgrade" }
            div #upgrade-now data-live aria-live="polite" { (now(seen)) }
            @if visitor.may(Scope::Operate) { (form(seen, attempt)) }
        }
    }
}

fn now(seen: &Seen) -> Markup {
    let common = &seen.instance.common;
    let state = common.upgrade_state.as_ref();
    let probation = state.and_then(|state| state.probation.as_ref());
    html! {
        @match &common.upgrade {
            Some(upgrade) => (last(seen, upgrade)),
            None => p.hint { "This gateway has asked for no upgrade of this agent. It runs " (common.agent_version) "." },
        }
        @if let Some(probation) = probation {
            p { "Version " (probation.version) " is on trial: it had " (format!("{:.0}", probation.seconds_left))
                " s left when it registered." }
        }
        @if !seen.record.roll_backs.is_empty() {
            h3 { "Rolled back" }
            ul.rolled-back { @for roll_back in seen.record.roll_backs.iter().rev() { li { (rolled_back(roll_back)) } } }
        }
    }
}

fn last(seen: &Seen, upgrade: &Upgrade) -> Markup {
    let version = &upgrade.version;
    let lost = seen.instance.common.status.warning.is_some();
    html! {
        @match &upgrade.stage {
            Stage::Asked => p { "The agent has been asked to upgrade to " strong { (version) } "." },
            Stage::Downloading { bytes, total } => {
                p { "The agent downloads " strong { (version) } ": " (progress(*bytes, *total)) }
                @if let Some(total) = total {
                    progress max=(total) value=(bytes) aria-label="Download" {}
                }
            }
            Stage::Restarting => p {
                "The agent has replaced its binary and restarts. The upgrade is done when " strong { (version) }
                " registers. If it does not within its trial (120 s by default), the VM returns to the previous version."
            },
            Stage::Confirmed => p.done { span aria-hidden="true" { "● " } "Upgraded to " strong { (version) } ": the new version has registered." },
            Stage::Failed { code, message } => {
                p.failure { "The upgrade to " strong { (version) } " has failed: " (message) }
                p { (after_failure(*code)) }
            }
            Stage::RolledBack { cause, reason } => {
                p.failure { "The upgrade to " strong { (version) } " was rolled back: " (because(cause.as_deref())) "." }
                p { "The agent says: “" (reason) "”. " (after_roll_back(cause.as_deref())) }
            }
        }
        p.hint {
            "Asked for by “" (upgrade.requested_by) "” " (words::ago(upgrade.requested_at, seen.now))
            ". Status since " (words::time(upgrade.since, &words::minute(upgrade.since))) "."
            @if lost && upgrade.is_going_on() {
                " The agent is not connected now. The upgrade continues, and the agent reports the result when it reconnects."
            }
        }
    }
}

fn progress(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => {
            let percent = bytes.min(total) as f64 * 100.0 / total as f64;
            format!("{} of {}, {percent:.0} %", words::bytes(bytes), words::bytes(total))
        }
        _ => words::bytes(bytes),
    }
}

fn rolled_back(roll_back: &RollBack) -> Markup {
    let at = match &roll_back.at {
        Some(serde_json::Value::String(at)) => Some(at.as_str()),
        _ => None,
    };
    html! {
        strong { (roll_back.version) } ": " (because(roll_back.cause.as_deref())) ". "
        (roll_back.reason) "."
        @if let Some(at) = at { span.since { " " (at) } }
        @if roll_back.banned == Some(true) {
            span.since { " This file is refused until another upgrade has been confirmed." }
        }
    }
}

fn because(cause: Option<&str>) -> &'static str {
    match cause {
        Some("crashed") => "the new version started and crashed, three times",
        Some("never_started") => "the new version never started",
        Some("refused") => "this gateway did not accept the register of the new version",
        Some("unacknowledged") => "the new version could not register in its trial",
        _ => "the new version did not prove itself in its trial",
    }
}

fn after_roll_back(cause: Option<&str>) -> &'static str {
    match cause {
        Some("crashed" | "never_started") => {
            "The previous version is running again. The journal of the service on the VM \
             (journalctl -u vmkit-agent) says why. This file is refused from now on: build another one."
        }
        Some("refused") => {
            "The previous version is running again. See the events of this gateway for what it refused, then try again."
        }
        Some("unacknowledged") => {
            "The previous version is running again. The network or this gateway was away: try again when both are there."
        }
        _ => "The previous version is running again.",
    }
}

fn after_failure(code: Option<i64>) -> &'static str {
    match code {
        Some(-32003) => {
            "Nothing was changed. The VM downloads too slowly: try again, or use a nearer address."
        }
        Some(-32004) => {
            "Nothing was changed. Another upgrade or a trial is under way: wait until it is over."
        }
        Some(-32010) => {
            "Nothing was changed. Check that the VM can reach the address of the download."
        }
        Some(-32011) => {
            "Nothing was changed. Check the checksum against the release, and that the file is signed if the VM wants that."
        }
        Some(-32012) => {
            "Nothing was changed. Check that the file is for this platform, is this version, and was not rolled back before."
        }
        Some(-32013) => {
            "The binary could not be replaced. Look at the disk and at the service on the VM: vmkit-agent doctor."
        }
        Some(-32014) => {
            "The owner of the VM does not allow it: see VMKIT_UPGRADES in agent.env there."
        }
        Some(_) => "Nothing was changed.",
        None => {
            "See whether the agent is connected and which version it runs, then look at its journal on the VM."
        }
    }
}

fn form(seen: &Seen, attempt: &Attempt) -> Markup {
    let path =
        format!("{}/upgrade#upgrade", words::instance_path(seen.instance.common.id.as_str()));
    let told = attempt.request.as_ref();
    let failed = attempt.failure.is_some();
    html! {
        details.order open[failed] {
            summary { "Upgrade this agent" }
            form method="post" action=(path) {
                @if let Some(failure) = &attempt.failure {
                    p.failure role="alert" { "Not upgraded: " (failure) "." }
                }
                p.hint { "The agent downloads the file, checks it, replaces itself and restarts. \
                          If the new version does not register in its trial, the VM puts this one back." }
                label for="version" { "Version" }
                input #version name="version" required maxlength="64" pattern="[0-9A-Za-z][0-9A-Za-z.+\\-]*"
                    placeholder="1.5.0" autocomplete="off" spellcheck="false" value=[told.map(|told| &told.version)];
                label for="download_url" { "Address of the file" }
                input #download_url name="download_url" type="url" required maxlength="8192" autocomplete="off"
                    placeholder="https://…/vmkit-agent-linux-amd64" value=[told.map(|told| &told.download_url)];
                label for="checksum_sha256" { "SHA-256" }
                input #checksum_sha256 name="checksum_sha256" required minlength="64" maxlength="64"
                    pattern="[0-9A-Fa-f]{64}" autocomplete="off" spellcheck="false" autocapitalize="off"
                    placeholder="64 hexadecimal digits" value=[told.map(|told| &told.checksum_sha256)];
                button type="submit" { "Upgrade " (seen.instance.common.id) }
            }
        }
    }
}
