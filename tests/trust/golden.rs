//! What earlier versions have remembered of their upgrades, as they wrote it (tests/fixtures).

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::cell::{self, INSTALLED, PREVIOUS, STATE};
use crate::support::{Release, agent_program};

/// Version 0.1.0's, by what had happened.
pub const UNFINISHED: &str = include_str!("../fixtures/state/0.1.0-unfinished.json");
pub const TRIAL: &str = include_str!("../fixtures/state/0.1.0-trial.json");
pub const ROLLING_BACK: &str = include_str!("../fixtures/state/0.1.0-rolling-back.json");
pub const UNREPORTED: &str = include_str!("../fixtures/state/0.1.0-rolled-back-unreported.json");
pub const REPORTED: &str = include_str!("../fixtures/state/0.1.0-rolled-back-reported.json");

/// What the guard of a trial writes to.
const GUARDS_LOG: &str = "/run/guard.log";

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

/// Starts the guard as version 0.1.0 does: from the previous program, with these arguments and, if
/// it is to wait, `--after`.
pub fn guard(checksum: &str, after: Option<&str>) -> Child {
    let mut guard = cell::root(PREVIOUS, &["rollback", "--state", STATE, "--trial", checksum]);
    guard.args(after.map(|after| ["--after", after]).into_iter().flatten());
    let log = fs::File::create(GUARDS_LOG).expect("the cell's own");
    guard.stdout(Stdio::piped()).stderr(log).spawn().expect("it is in place")
}

/// What the guard has said until now.
pub fn guards_log() -> String {
    fs::read_to_string(GUARDS_LOG).expect("there is a guard")
}

/// The previous program is installed again.
#[track_caller]
pub fn assert_put_back() {
    let there = fs::read(INSTALLED).expect("something is always installed");
    let before = fs::read(agent_program()).expect("the agent was built");
    assert!(there == before, "the program on trial is still installed:\n{}", guards_log());
}
