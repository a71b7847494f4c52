//! The checks, by the sections of `dist/protocol.md`. A check has the id of its sentence; what the
//! sentence says is not repeated here.

mod closing;
mod connection;
mod errors;
mod follow;
mod frames;
mod growing;
mod heartbeat;
mod logs;
mod metrics;
mod registering;
mod releases;
mod retrying;
mod rpc;
mod support;
pub mod trials;
mod upgrades;

use serde_json::json;

use super::bench::Bench;
use super::fault::Outcome;
use super::table::Check;

/// Rules for agents that no check looks at, each with its reason.
pub const NOT_CHECKED: &[(&str, &str)] = &[];

/// Parts of rules that their checks do not reach, each with its reason.
pub const NOT_REACHED: &[(&str, &str)] = &[
    (
        "A-CONN-7",
        "DNS and TCP that do not answer: loopback answers at once; the time of all is checked",
    ),
    ("A-BEAT-4", "that a pong goes between two fragments: the kit can't choose the moment"),
    ("A-RETRY-2", "the limit of 60 s: the check ends after seven dials"),
    ("A-RETRY-4", "that a longer time is cut to 300 s"),
    ("A-RETRY-5", "that a longer time is cut to 300 s"),
    ("A-LOG-9", "a log driver that can't be read: its code alone, by A-ERR-1"),
    ("A-FOL-1", "\"at once\": the check waits 3 s for the last lines"),
    ("A-FOL-5", "that the lines left out are the oldest"),
    ("A-FOL-9", "that lines which have not left are not sent before the answer"),
    ("A-FOL-12", "the second of the 2 s"),
    ("A-FOL-15", "the 150 ms: the check waits 3 s for the half of a line"),
    (
        "A-UPG-3",
        "-32013, which needs a folder that cannot be written; -32003, which takes ten minutes",
    ),
    (
        "A-UPG-9",
        "a roll-back of a binary that starts and is refused: A-UPG-15 has one that ends at once",
    ),
    ("A-UPG-10", "that a confirmed upgrade lifts the ban"),
    ("A-UPG-11", "public addresses: the kit has none"),
    ("A-UPG-16", "other causes than that of a binary which ends at once"),
];

/// All checks, by section.
pub fn all() -> Vec<&'static Check> {
    let sections: &[&'static [Check]] = &[
        connection::CHECKS,
        frames::CHECKS,
        heartbeat::CHECKS,
        retrying::CHECKS,
        closing::CHECKS,
        rpc::CHECKS,
        errors::CHECKS,
        registering::CHECKS,
        metrics::CHECKS,
        logs::CHECKS,
        follow::CHECKS,
        upgrades::CHECKS,
        trials::CHECKS,
        growing::CHECKS,
    ];
    sections.iter().flat_map(|section| section.iter()).collect()
}

/// A session with one of each message, for the checks that only look.
pub async fn warm_up(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    bench.ask(&session, "metrics_collect", json!({}), 15.0).await?;
    bench.ask(&session, "logs_fetch", json!({"container": "kit-plain"}), 2.0).await?;
    let streamed = json!({"container": "kit-plain", "stream": true});
    bench.ask(&session, "logs_fetch", streamed, 2.0).await?;
    for container in ["kit-gone", "kit-no-driver", "kit-down"] {
        bench.ask(&session, "logs_fetch", json!({"container": container}), 2.0).await?;
    }
    bench.ask(&session, "kit_unknown", json!({}), 2.0).await?;
    session.text("{").await;
    bench.still_serves(&session).await
}
