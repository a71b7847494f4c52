//! States of upgrades that another version has written, or a disk has spoiled: a trial goes on or
//! is rolled back, and never ends in silence.

use std::fs;

use serde_json::{Value, json};

use crate::cell::{self, INSTALLED, PREVIOUS, STATE, in_a_cell, install};
use crate::golden::{self, UNRELEASED, UNRELEASED_REFUSED, V0_1_0, on_trial, remember, remembered};
use crate::guard::Guard;
use crate::site::{Site, expect_roll_back, gateway, run_agent};
use crate::support::{Agent, PATIENCE, Peer, Release, Session, poll_until};

#[track_caller]
fn assert_not_damaged(agent: &Agent) {
    let log = agent.log();
    assert!(!log.iter().any(|line| line.contains("damaged")), "{log:#?}");
}

/// Adds members that no version knows, in every object.
fn with_unknown_members(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(with_unknown_members);
            members.insert("vmkit_test".to_owned(), json!({"later": [1, null]}));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown_members),
        _ => {}
    }
}

#[test]
fn a_trial_of_0_1_0_is_confirmed() {
    is_confirmed(V0_1_0.trial);
}

#[test]
fn a_trial_of_this_version_is_confirmed() {
    is_confirmed(UNRELEASED.trial);
}

/// Also where the gateway has refused it before.
#[test]
fn a_refused_trial_of_this_version_is_confirmed() {
    is_confirmed(UNRELEASED_REFUSED);
}

fn is_confirmed(golden: &str) {
    in_a_cell(|| {
        let (next, mut state) = on_trial(golden);
        // Time enough on a busy machine.
        state["trial"]["probation"] = json!(120);
        remember(&state);
        let (peer, agent) = (gateway(), run_agent());
        let mut session = peer.accept_upgraded();
        assert_eq!(session.read_register()["version"], *next.version);
        session.acknowledge();
        agent.wait_for_log(&["confirmed"]);
        assert_not_damaged(&agent);
        assert_eq!(remembered()["trial"], Value::Null);
    });
}

/// The same with members that later versions may add.
#[test]
fn a_trial_of_a_later_version_is_rolled_back() {
    in_a_cell(|| {
        let (_, mut state) = on_trial(V0_1_0.trial);
        // An unknown stage could be anything; this one is known.
        with_unknown_members(&mut state);
        remember(&state);
        let (peer, agent) = (gateway(), run_agent());
        expect_roll_back(&peer);
        assert_not_damaged(&agent);
    });
}

#[test]
fn a_roll_back_of_0_1_0_that_was_cut_short_is_finished() {
    is_finished(V0_1_0.rolling_back, ("unacknowledged", false));
}

#[test]
fn a_roll_back_of_this_version_that_was_cut_short_is_finished() {
    is_finished(UNRELEASED.rolling_back, ("refused", false));
}

/// The gateway is told the cause, and whether the program is banned.
fn is_finished(golden: &str, (cause, banned): (&str, bool)) {
    in_a_cell(|| {
        on_trial(golden);
        let (peer, agent) = (gateway(), run_agent());
        let told = expect_roll_back(&peer);
        assert_eq!((&told["cause"], &told["banned"]), (&json!(cause), &json!(banned)));
        assert_not_damaged(&agent);
        assert_eq!(fs::read(INSTALLED).ok(), fs::read(PREVIOUS).ok(), "it has been put back");
    });
}

/// The guard has no more than the state to tell the cause by.
#[test]
fn a_refused_trial_of_this_version_is_rolled_back_as_refused() {
    in_a_cell(|| {
        let peer = gateway();
        let (next, _) = on_trial(UNRELEASED_REFUSED);
        Guard::of(&next, None).expect_roll_back(&peer);
        assert_eq!(remembered()["rolled_back"][0]["cause"], "refused");
    });
}

#[test]
fn an_upgrade_of_0_1_0_that_was_cut_short_is_cleaned_up_after() {
    is_cleaned_up_after(V0_1_0.unfinished);
}

#[test]
fn an_upgrade_of_this_version_that_was_cut_short_is_cleaned_up_after() {
    is_cleaned_up_after(UNRELEASED.unfinished);
}

fn is_cleaned_up_after(golden: &str) {
    in_a_cell(|| {
        install();
        let state = golden::parsed(golden);
        let version = state["unfinished"].as_str().expect("a version");
        let half = format!("/tmp/vmkit-agent-{version}");
        cell::write(&half, "half a download");
        cell::write("/usr/local/bin/vmkit-agent.new", "half a copy");
        remember(&state);
        let (peer, agent) = (gateway(), run_agent());
        peer.accept_registered();
        assert_not_damaged(&agent);
        assert_eq!(remembered(), Value::Null);
        for gone in [&half, "/usr/local/bin/vmkit-agent.new"] {
            assert!(fs::metadata(gone).is_err(), "{gone} is still there");
        }
    });
}

/// Remembers this; the session of the agent that has found it.
fn registered(golden: &str) -> (Peer, Agent, Session) {
    install();
    remember(&golden::parsed(golden));
    let (peer, agent) = (gateway(), run_agent());
    let session = peer.accept_registered();
    (peer, agent, session)
}

#[test]
fn a_roll_back_of_0_1_0_is_reported_once() {
    is_reported_once(V0_1_0.unreported, ("unacknowledged", false));
}

#[test]
fn a_roll_back_of_this_version_is_reported_once() {
    is_reported_once(UNRELEASED.unreported, ("refused", false));
}

fn is_reported_once(golden: &str, (cause, banned): (&str, bool)) {
    in_a_cell(|| {
        let (_, agent, mut session) = registered(golden);
        let told = session.next_notification("upgrade_rolled_back");
        assert_eq!((&told["cause"], &told["banned"]), (&json!(cause), &json!(banned)));
        let golden = golden::parsed(golden)["rolled_back"][0].clone();
        assert_eq!(told["version"], golden["version"]);
        assert_eq!(told["checksum_sha256"], golden["checksum"]);
        assert_eq!(told["reason"], golden["reason"]);
        poll_until("the note that it was told", PATIENCE, || {
            (remembered()["rolled_back"][0]["reported"] == true).then_some(())
        });
        assert_not_damaged(&agent);
    });
}

#[test]
fn a_roll_back_of_0_1_0_that_was_reported_is_only_remembered() {
    is_only_remembered(V0_1_0.reported);
}

#[test]
fn a_roll_back_of_this_version_that_was_reported_is_only_remembered() {
    is_only_remembered(UNRELEASED.reported);
}

fn is_only_remembered(golden: &str) {
    in_a_cell(|| {
        let (_, agent, mut session) = registered(golden);
        session.assert_quiet();
        assert_not_damaged(&agent);
        let golden = &golden::parsed(golden)["rolled_back"][0];
        assert_eq!(remembered()["rolled_back"][0]["checksum"], golden["checksum"]);
    });
}

/// Without what a version may not have had yet. Doctor reads as the agent does.
#[test]
fn what_may_be_missing_is_no_damage() {
    in_a_cell(|| {
        install();
        gateway();
        let doctor = |state: &Value| {
            remember(state);
            cell::agent(&["doctor"]).1
        };
        let without = |golden: &str, path: &str| {
            let mut state = golden::parsed(golden);
            let (parent, member) = path.rsplit_once('/').expect("a path");
            let parent = state.pointer_mut(parent).and_then(Value::as_object_mut);
            parent.expect("it is in the file").remove(member).expect("it is in the file");
            state
        };
        for member in ["since", "probation", "starts", "stage", "restart", "agent", "previous"] {
            let said = doctor(&without(V0_1_0.trial, &format!("/trial/{member}")));
            assert!(said.contains("on probation"), "without {member}:\n{said}");
        }
        for member in ["process", "refused"] {
            let said = doctor(&without(UNRELEASED_REFUSED, &format!("/trial/{member}")));
            assert!(said.contains("on probation"), "without {member}:\n{said}");
        }
        for member in ["cause", "banned", "times"] {
            let said = doctor(&without(UNRELEASED.reported, &format!("/rolled_back/0/{member}")));
            assert!(said.contains("was rolled back"), "without {member}:\n{said}");
        }
        for member in ["reason", "at", "reported"] {
            let said = doctor(&without(V0_1_0.reported, &format!("/rolled_back/0/{member}")));
            assert!(said.contains("was rolled back"), "without {member}:\n{said}");
        }
    });
}

/// All that a version has to say for its trial to be rolled back.
#[test]
fn the_least_that_a_trial_can_be_is_rolled_back() {
    in_a_cell(|| {
        let peer = gateway();
        let (next, state) = on_trial(V0_1_0.trial);
        let trial = json!({
            "version": state["trial"]["version"], "checksum": state["trial"]["checksum"],
            "installed": state["trial"]["installed"]
        });
        remember(&json!({"trial": trial}));
        Guard::of(&next, None).expect_roll_back(&peer);
    });
}

/// A state is spoiled while the guard, as 0.1.0 starts it, waits for the end of the trial.
#[track_caller]
fn spoil(content: &[u8]) {
    let peer = gateway();
    let (next, _) = on_trial(V0_1_0.trial);
    let mut guard = Guard::of(&next, Some(1));
    assert!(guard.is_armed(), "{}", guard.log());
    fs::write(STATE, content).expect("it is there");
    assert_says_so(&guard.expect_roll_back(&peer));
}

#[track_caller]
fn assert_says_so(log: &str) {
    assert!(log.contains(STATE) && log.contains("damaged"), "{log}");
    assert!(log.contains("rolling back") || log.contains("rolled back"), "{log}");
}

#[test]
fn garbage_during_the_watch() {
    in_a_cell(|| spoil(b"\0garbage\xff"));
}

#[test]
fn half_a_file_during_the_watch() {
    in_a_cell(|| spoil(&V0_1_0.trial.as_bytes()[..V0_1_0.trial.len() / 2]));
}

#[test]
fn nothing_in_the_file_during_the_watch() {
    in_a_cell(|| spoil(b""));
}

/// After a power cut: the unit files that 0.1.0 left for the next boot name a state and a
/// checksum, and no more.
#[test]
fn garbage_before_the_guard_starts() {
    in_a_cell(|| {
        let peer = gateway();
        let (next, _) = on_trial(V0_1_0.trial);
        fs::write(STATE, "garbage").expect("it is there");
        let guard = Guard::of(&next, None);
        assert_says_so(&guard.expect_roll_back(&peer));
    });
}

/// Somebody has started an agent from another path once.
#[test]
fn a_trial_of_another_program_is_its_own_business() {
    in_a_cell(|| {
        install();
        let mut state = golden::parsed(V0_1_0.trial);
        state["trial"]["installed"] = json!("/opt/vmkit-agent");
        state["trial"]["previous"] = json!("/opt/vmkit-agent.prev");
        remember(&state);
        let mut site = Site::up();
        let next = Release::next();
        let mut session = site.has_upgraded(&next);
        site.confirm(&mut session, &next);
    });
}
