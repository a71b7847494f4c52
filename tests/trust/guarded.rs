//! What goes wrong round a roll-back: a restart command that fails, a disk that is full, a state that
//! is damaged, a state folder of another user's.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use crate::cell::{self, INSTALLED, STATE, STATE_FOLDER, in_a_cell, install};
use crate::golden::{UNRELEASED, on_trial, remember, remembered};
use crate::site::{SHORT_PROBATION, Site, expect_roll_back, gateway, run_agent};
use crate::support::{OWN_VERSION, Release, poll_until};

const BUSY: i64 = -32004;
/// The agent dials again 30 s after a restart that did not happen. The guard tries for a minute.
const RESTARTS: Duration = Duration::from_secs(120);

/// The agent from before is not ended, and a binary that nobody has started is not banned.
#[test]
fn a_restart_command_that_fails_leaves_the_agent_running() {
    in_a_cell(|| {
        install();
        let mut site = Site::with_more_settings("VMKIT_RESTART_CMD=false\n");
        let before = fs::read(INSTALLED).expect("it is installed");
        assert_eq!(site.upgrade(&Release::next()), None);
        assert_eq!(site.session.expect_close(), 1001);
        let (mut session, register) = site.peer.accept_register(RESTARTS).expect("it dials again");
        assert_eq!(register["version"], *OWN_VERSION);
        session.acknowledge();
        let rolled_back = poll_until("the roll-back", RESTARTS, || {
            let rolled_back = remembered()["rolled_back"][0].clone();
            (rolled_back != Value::Null).then_some(rolled_back)
        });
        assert_eq!(rolled_back["cause"], "unacknowledged", "{rolled_back}");
        assert_eq!(rolled_back["banned"], false, "{rolled_back}");
        assert!(fs::read(INSTALLED).expect("it is installed") == before);
        session.ping(b"the same agent");
    });
}

/// There is room for one more state in reserve.
#[test]
fn a_full_disk_hides_no_roll_back() {
    in_a_cell(|| {
        install();
        fs::create_dir_all(STATE_FOLDER).expect("the cell's own");
        let small = ["-t", "tmpfs", "-o", "size=64k,mode=700", "none", STATE_FOLDER];
        assert!(cell::root("mount", &small).status().is_ok_and(|status| status.success()));
        let mut site = Site::with_short_probation();
        let session = site.has_upgraded(&Release::next());
        let mut filler = File::create(format!("{STATE_FOLDER}/filler")).expect("room for a name");
        while filler.write_all(&[0; 512]).is_ok() {}
        drop(session);
        let told = expect_roll_back(&site.peer);
        assert_eq!(told["cause"], "refused", "{told}");
    });
}

/// Else the upgrade would put a new state in the place of the damaged one, and the guard would find no
/// trial in it.
#[test]
fn no_upgrade_begins_on_a_damaged_state_while_a_guard_watches() {
    in_a_cell(|| {
        install();
        let mut site = Site::with_short_probation();
        site.session = site.has_upgraded(&Release::next());
        fs::write(STATE, "{").expect("root may");
        let (code, message) = site.upgrade(&Release::next()).expect("it is refused");
        assert!(code == BUSY && message.contains("damaged"), "{code} {message}");
        drop(site.session);
        expect_roll_back(&site.peer);
    });
}

/// The path of the previous binary in it would be executed by root.
#[test]
fn a_state_folder_of_another_users_is_not_believed() {
    in_a_cell(|| {
        let (_, mut state) = on_trial(UNRELEASED.trial);
        cell::fake("evil", "echo run >>/run/evil");
        state["trial"]["previous"] = "/usr/local/sbin/evil".into();
        state["trial"]["starts"] = 3.into();
        remember(&state);
        let chown = ["--recursive", "65534:65534", STATE_FOLDER];
        assert!(cell::root("chown", &chown).status().is_ok_and(|status| status.success()));
        let (peer, agent) = (gateway(), run_agent());
        peer.accept_registered();
        agent.wait_for_log(&["belongs to user 65534"]);
        std::thread::sleep(SHORT_PROBATION / 10);
        assert!(!fs::exists("/run/evil").expect("the cell's own"));
    });
}
