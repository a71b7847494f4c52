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
use super::check::Check;
use super::fault::Outcome;

/// Rules for agents that no check looks at, each with its reason.
pub const NOT_CHECKED: &[(&str, &str)] = &[];

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
