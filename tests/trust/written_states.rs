//! The golden files of this version are what this version writes, member for member: a later
//! version reads them in its tests.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::{self, INSTALLED, in_a_cell, install};
use crate::golden::{UNRELEASED, UNRELEASED_REFUSED, parsed, remembered};
use crate::site::{COME_BACK, Site, expect_roll_back};
use crate::support::{Download, PATIENCE, Release, poll_until};

/// Waits until the state has something at this place; the state.
#[track_caller]
fn state_with(pointer: &str, within: Duration) -> Value {
    poll_until(pointer, within, || {
        let state = remembered();
        let there = state.pointer(pointer);
        there.is_some_and(|there| ![&Value::Null, &json!(false)].contains(&there)).then_some(state)
    })
}

/// The names of all members, and the kinds of their values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!(0),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

#[track_caller]
fn assert_shape(written: &Value, golden: &str) {
    let golden = parsed(golden);
    assert_eq!(shape(written), shape(&golden), "written: {written}\ngolden: {golden}");
}

#[test]
fn of_an_upgrade_under_way() {
    in_a_cell(|| {
        install();
        let mut site = Site::up();
        site.ask_for_upgrade(&Release::next(), Download::Stalled);
        assert_shape(&state_with("/unfinished", PATIENCE), UNRELEASED.unfinished);
    });
}

#[test]
fn of_a_trial_and_its_roll_back() {
    in_a_cell(|| {
        install();
        let mut site = Site::with_short_probation();
        let mut session = site.has_upgraded(&Release::next());
        assert_shape(&state_with("/trial/starts", PATIENCE), UNRELEASED.trial);

        // What something is mounted on can't be replaced: the roll-back tries again.
        let mount = cell::root("mount", &["--bind", INSTALLED, INSTALLED]).status();
        assert!(mount.is_ok_and(|status| status.success()));
        session.answer_register(r#""error":{"code":1,"message":"not you"}"#);
        assert_shape(&state_with("/trial/refused", PATIENCE), UNRELEASED_REFUSED);
        let state = state_with("/trial/stage/rolling_back", COME_BACK);
        assert_shape(&state, UNRELEASED.rolling_back);
        let umount = cell::root("umount", &["--lazy", INSTALLED]).status();
        assert!(umount.is_ok_and(|status| status.success()));

        assert_shape(&state_with("/rolled_back", COME_BACK), UNRELEASED.unreported);
        expect_roll_back(&site.peer);
        assert_shape(&state_with("/rolled_back/0/reported", PATIENCE), UNRELEASED.reported);
    });
}
