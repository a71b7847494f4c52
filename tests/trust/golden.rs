//! What earlier versions have remembered of their upgrades, as they wrote it (tests/fixtures).

use std::fs;

use serde_json::{Value, json};

use crate::cell::{self, INSTALLED, PREVIOUS, STATE};
use crate::support::Release;

/// Version 0.1.0's, by what had happened.
pub const UNFINISHED: &str = include_str!("../fixtures/state/0.1.0-unfinished.json");
pub const TRIAL: &str = include_str!("../fixtures/state/0.1.0-trial.json");
pub const ROLLING_BACK: &str = include_str!("../fixtures/state/0.1.0-rolling-back.json");
pub const UNREPORTED: &str = include_str!("../fixtures/state/0.1.0-rolled-back-unreported.json");
pub const REPORTED: &str = include_str!("../fixtures/state/0.1.0-rolled-back-reported.json");

pub fn parsed(golden: &str) -> Value {
    serde_json::from_str(golden).expect("an agent has written it")
}

/// Puts the next version in place, the program under test as the one before it, and a trial's
/// state as the golden file has it, but for the program that is on trial.
pub fn on_trial(golden: &str) -> (Release, Value) {
    let next = Release::next();
    cell::install();
    fs::copy(INSTALLED, PREVIOUS).expect("just installed");
    fs::write(INSTALLED, &next.bytes).expect("just installed");
    let mut state = parsed(golden);
    state["trial"]["version"] = json!(next.version);
    state["trial"]["checksum"] = json!(next.sha256());
    remember(&state);
    (next, state)
}

/// Leaves this for the agent to find.
pub fn remember(state: &Value) {
    cell::write(STATE, state.to_string());
}

/// The state of upgrades, as it is on disk now.
pub fn remembered() -> Value {
    let text = fs::read(STATE).unwrap_or_else(|_| b"null".into());
    serde_json::from_slice(&text).expect("the agent writes JSON")
}
