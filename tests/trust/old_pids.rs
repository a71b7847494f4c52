//! Process numbers that stand in an old state, and other users' agents: after a roll-back neither
//! counts as ours. Without an init system, where the guard itself becomes the agent.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::cell::{self, INSTALLED, PREVIOUS, in_a_cell, install};
use crate::golden::{self, V0_1_0};
use crate::guard::Guard;
use crate::site::{Site, expect_roll_back, gateway};
use crate::stranger::Stranger;
use crate::support::{Release, is_running};

const SCRIPT: &str = "export VMKIT_DOCKER_BIN=/tmp/evil-docker; exec sleep infinity";

/// Rolls back a trial of 0.1.0's whose agent had this number; what is left of whose it is now.
#[track_caller]
fn roll_back(pid: u32) {
    let peer = gateway();
    let (next, mut state) = golden::on_trial(V0_1_0.trial);
    state["trial"]["agent"] = json!(pid);
    golden::remember(&state);
    let guard = Guard::of(&next, None);
    guard.expect_roll_back(&peer);
    let environments = environments_of_agents();
    assert!(!environments.is_empty(), "an agent has dialled");
    let adopted = environments.iter().any(|environment| environment.contains("evil-docker"));
    let ended = !is_running(pid);
    assert!(!adopted && !ended, "of a process {pid}: ended {ended}, adopted {adopted}");
}

/// The variables of everything that runs from where the agent is installed.
fn environments_of_agents() -> Vec<String> {
    let processes = cell::files_in("/proc").into_iter();
    let agents = processes.filter(|process| {
        fs::read_link(process.join("exe")).is_ok_and(|program| program.starts_with(INSTALLED))
    });
    let environments = agents.map(|process| fs::read(process.join("environ")).unwrap_or_default());
    environments.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

#[test]
fn a_number_that_is_another_users_process_now() {
    in_a_cell(|| roll_back(Stranger::runs(SCRIPT, &[]).pid()));
}

#[test]
fn a_number_that_is_another_process_of_roots_now() {
    in_a_cell(|| {
        let mut sleeper = Command::new("/bin/sh");
        let sleeper = sleeper.args(["-c", SCRIPT]).stdin(Stdio::null()).spawn();
        roll_back(sleeper.expect("a shell is there").id());
    });
}

/// From the previous program, which has the installed one's name after the roll-back.
#[test]
fn another_users_agent_from_the_previous_program() {
    in_a_cell(|| {
        install();
        let mut site = Site::with_short_probation();
        assert_eq!(site.upgrade(&Release::script("exit 1")), None);
        assert_eq!(site.session.expect_close(), 1001);
        let theirs = Stranger::runs_agent(PREVIOUS);
        expect_roll_back(&site.peer);
        assert!(theirs.lives(), "another user's process was ended");
    });
}
