//! The states of upgrades that this version and earlier versions have written (tests/fixtures).

use std::fs;

use serde_json::{Value, json};

use crate::cell::{self, INSTALLED, PREVIOUS, STATE};
use crate::support::Release;

/// The states that one version has written, by what had happened.
pub struct Golden {
    /// A download was under way.
    pub unfinished: &'static str,
    pub trial: &'static str,
    /// The previous program was about to be put back.
    pub rolling_back: &'static str,
    /// The gateway did not know of the roll-back yet.
    pub unreported: &'static str,
    pub reported: &'static str,
}

macro_rules! golden {
    ($version:literal) => {
        Golden {
            unfinished: include_str!(concat!("../fixtures/state/", $version, "-unfinished.json")),
            trial: include_str!(concat!("../fixtures/state/", $version, "-trial.json")),
            rolling_back: include_str!(concat!(
                "../fixtures/state/",
                $version,
                "-rolling-back.json"
            )),
            unreported: include_str!(concat!(
                "../fixtures/state/",
                $version,
                "-rolled-back-unreported.json"
            )),
            reported: include_str!(concat!(
                "../fixtures/state/",
                $version,
                "-rolled-back-reported.json"
            )),
        }
    };
}

pub const V0_1_0: Golden = golden!("0.1.0");
/// This version's; a release renames the files.
pub const UNRELEASED: Golden = golden!("unreleased");
/// The same trial, after the gateway has refused the `register` of the new version.
pub const UNRELEASED_REFUSED: &str =
    include_str!("../fixtures/state/unreleased-trial-refused.json");

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
