//! Processes that look like the agent: doctor does not run them, nor takes them for it, and
//! install and uninstall leave them alone.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::cell::{self, INSTALLED, ON_START, in_a_cell, install};
use crate::site::{gateway, run_agent};
use crate::stranger::Stranger;
use crate::support::look_alike::{self, TRACES};
use crate::support::{PATIENCE, is_running, poll_until};

/// In a namespace of their own, any user can have any file under any name.
fn evil_under_the_agents_name() -> Stranger {
    look_alike::build("/tmp/evil".as_ref());
    Stranger::has_run("mkdir -m 777 \"$1\"", &[TRACES]);
    let mount = format!("mount --bind /tmp/evil {INSTALLED} && exec {INSTALLED}");
    let evil = Stranger::runs("exec unshare -Urm sh -c \"$1\"", &[&mount]);
    poll_until("the evil program", PATIENCE, || (!cell::files_in(TRACES).is_empty()).then_some(()));
    evil
}

fn doctor() -> String {
    cell::agent(&["doctor"]).1
}

#[track_caller]
fn assert_no_agent_but(stranger: &Stranger, said: &str) {
    let pid = format!("process {}", stranger.pid());
    assert!(!said.contains(&pid), "another user's process is the agent:\n{said}");
    assert!(said.contains("no agent runs here"), "{said}");
    assert!(!said.contains("running and in"), "nothing runs:\n{said}");
}

#[track_caller]
fn assert_root_has_not_run_evil(said: &str) {
    for trace in cell::files_in(TRACES) {
        let owner = fs::metadata(&trace).expect("nobody removes it").uid();
        assert_ne!(owner, 0, "root has run what another user had mounted:\n{said}");
    }
}

#[test]
fn doctor_and_what_is_mounted_over_the_installed_program() {
    in_a_cell(|| {
        install();
        gateway();
        let evil = evil_under_the_agents_name();
        let said = doctor();
        assert_root_has_not_run_evil(&said);
        assert_no_agent_but(&evil, &said);
        // The same where doctor looks for a service that is stopped.
        cell::systemd();
        assert_root_has_not_run_evil(&doctor());
    });
}

#[test]
fn doctor_and_the_installed_program_run_by_another_user() {
    in_a_cell(|| {
        install();
        gateway();
        let theirs = Stranger::runs_agent(INSTALLED);
        assert_no_agent_but(&theirs, &doctor());
        assert!(theirs.lives());
    });
}

/// Root's process is the agent, whatever other users run.
#[test]
fn doctor_and_the_agent_beside_anothers() {
    in_a_cell(|| {
        install();
        let peer = gateway();
        let theirs = Stranger::runs_agent(INSTALLED);
        let evil = evil_under_the_agents_name();
        let ours = run_agent();
        let _session = peer.accept_registered();
        // Doctor dials too, and is not kept waiting.
        drop(peer);
        let said = doctor();
        let pid = format!("runs as process {}", ours.pid());
        assert!(said.contains(&pid), "{pid}, not {} or {}:\n{said}", theirs.pid(), evil.pid());
        assert_root_has_not_run_evil(&said);
    });
}

#[test]
fn install_and_uninstall_leave_other_users_processes_alone() {
    in_a_cell(|| {
        install();
        gateway();
        cell::systemd();
        let evil = evil_under_the_agents_name();
        let theirs = Stranger::runs_agent(INSTALLED);
        for command in ["install", "uninstall"] {
            let (succeeded, said) = cell::agent(&[command]);
            assert!(succeeded, "{said}");
            assert!(evil.lives() && theirs.lives(), "{command} has ended another user's process");
        }
    });
}

/// While the service starts, for up to two minutes, a stray agent may end and its number go to
/// another process.
#[test]
fn install_does_not_end_what_has_got_the_number_of_a_stray_agent() {
    in_a_cell(|| {
        install();
        gateway();
        cell::systemd();
        // Nobody's child, so that its number is free as soon as it has ended.
        let script = "\"$1\" >/dev/null 2>&1 & echo $!";
        let stray = cell::root("/bin/sh", &["-c", script, "sh", INSTALLED]).output();
        let stray = stray.expect("a shell is there").stdout;
        let stray = String::from_utf8(stray).expect("a number").trim().to_owned();
        let on_start = format!(
            "kill -KILL {stray}
            while [ -e /proc/{stray} ]; do sleep 0.01; done
            until [ -e /proc/{stray} ]; do
                echo $(({stray} - 1)) >/proc/sys/kernel/ns_last_pid
                setpriv --reuid=65534 --clear-groups sleep infinity >/dev/null 2>&1 &
            done
            touch /run/reused"
        );
        cell::write(ON_START, on_start);
        let (succeeded, said) = cell::agent(&["install"]);
        assert!(succeeded && fs::exists("/run/reused").is_ok_and(|reused| reused), "{said}");
        let bystander = stray.parse().expect("a number");
        assert!(is_running(bystander), "install has ended a bystander");
    });
}
