//! The lanes: which agent a check gets.

use super::agent::Agent;
use super::bench::Bench;
use super::fault::Outcome;

/// An agent without anything special; most checks.
pub const MAIN: &str = "main";

/// Gives the agent of a lane its environment.
pub fn prepare(lane: &str, agent: &Agent) {
    match lane {
        "upgrades off" => agent.set("VMKIT_UPGRADES", Some("off")),
        // A binary that registers needs more than the least time there is, on a busy machine.
        "trial next" => {}
        lane if lane.starts_with("trial") => agent.set("VMKIT_UPGRADE_PROBATION_SECS", Some("5")),
        _ => {}
    }
}

/// Whether an agent that somebody else has started can be in this lane.
pub fn is_possible(lane: &str, bench: &Bench) -> Outcome {
    let special = ["upgrades off", "trial", "public key"];
    let is_special = special.iter().any(|beginning| lane.starts_with(beginning));
    if is_special { bench.agent().map(drop) } else { Ok(()) }
}

/// Whether a lane waits for the long clocks of the protocol.
pub fn is_long(lane: &str) -> bool {
    lane.starts_with("long ")
}
