//! An instance's events in words, the newest first.

use maud::{Markup, html};

use super::Seen;
use crate::agents::events::What;
use crate::page::words;

pub fn section(seen: &Seen) -> Markup {
    html! {
        section #events data-live aria-labelledby="events-title" {
            h2 #events-title { "Events" }
            @if seen.events.is_empty() {
                p.nothing-here { "Nothing has happened yet." }
            } @else {
                ol.events reversed {
                    @for event in &seen.events {
                        li {
                            (words::time(event.at, &words::minute(event.at)))
                            (what(&event.what))
                        }
                    }
                }
            }
        }
    }
}

fn what(what: &What) -> Markup {
    let (class, sign, words) = match what {
        What::GatewayStarted => ("", "·", "The gateway was started".to_owned()),
        What::Connected { version, ip, replaced } => {
            let more = match replaced {
                true => ", and took the place of a session with the same instance id",
                false => "",
            };
            ("well", "●", format!("Connected: {version} from {ip}{more}"))
        }
        What::Lost { reason } => ("lost", "✕", format!("Lost: {reason}")),
        What::VersionChanged { from, to } => {
            ("", "·", format!("Version changed from {from} to {to}"))
        }
        What::UpgradeRequested { version, by } => {
            ("", "·", format!("Upgrade to {version} asked for by “{by}”"))
        }
        What::UpgradeConfirmed { version } => {
            ("well", "●", format!("Upgraded: {version} has registered"))
        }
        What::UpgradeFailed { version, message, .. } => {
            ("lost", "▲", format!("The upgrade to {version} has failed: {message}"))
        }
        What::RolledBack { roll_back } => {
            let (version, reason) = (&roll_back.version, &roll_back.reason);
            ("lost", "▲", format!("{version} was rolled back: {reason}"))
        }
    };
    html! { span.what.(class) { span.sign aria-hidden="true" { (sign) } " " (words) } }
}
