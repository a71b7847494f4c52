//! Locks that another user holds on whatever everybody can open: nothing waits for them, nothing is
//! refused or given up for them. A lock of root's is worth waiting for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cell::{self, INSTALLED, PREVIOUS, STATE_FOLDER, in_a_cell, install};
use crate::site::{PROBATION, Site, open_state_folder};
use crate::stranger::Stranger;
use crate::support::{OWN_VERSION, Release};

/// What earlier versions have locked. The installed program will be the previous one.
const TARGETS: [&str; 5] = [INSTALLED, STATE_FOLDER, "/etc", "/usr/local/bin", "/var/lib"];

/// A machine that an earlier version was on, and a stranger for each of the targets.
fn eyed() -> Vec<Stranger> {
    install();
    open_state_folder();
    TARGETS.map(Stranger::eyeing).into()
}

fn lock_all(strangers: &mut [Stranger]) {
    strangers.iter_mut().for_each(Stranger::locks);
}

/// Nothing that an upgrade has made, beside the programs, is for others to open.
#[track_caller]
fn assert_private(folder: &str) {
    for path in cell::files_in(folder) {
        let own = path.starts_with(STATE_FOLDER) || path.starts_with("/usr/local/bin");
        let is_program = [INSTALLED, PREVIOUS].iter().any(|program| path == Path::new(program));
        let mode = fs::metadata(&path).expect("it was listed").mode();
        assert!(!own || is_program || mode & 0o077 == 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn an_upgrade_is_not_held_up() {
    in_a_cell(|| {
        let mut strangers = eyed();
        lock_all(&mut strangers);
        let mut site = Site::up();
        let next = Release::next();
        let mut session = site.has_upgraded(&next);
        assert_eq!(cell::mode(STATE_FOLDER), "700");
        assert_private(STATE_FOLDER);
        site.confirm(&mut session, &next);
        assert_private(STATE_FOLDER);
    });
}

#[test]
fn a_confirmation_is_not_held_up() {
    in_a_cell(|| {
        let mut strangers = eyed();
        let mut site = Site::up();
        let next = Release::next();
        let mut session = site.has_upgraded(&next);
        lock_all(&mut strangers);
        let _previous = Stranger::locking(INSTALLED);
        site.confirm(&mut session, &next);
    });
}

#[test]
fn a_roll_back_is_not_held_up() {
    in_a_cell(|| {
        let mut strangers = eyed();
        let mut site = Site::up();
        let session = site.has_upgraded(&Release::next());
        lock_all(&mut strangers);
        let _new = Stranger::locking(INSTALLED);
        site.expect_roll_back(session);
    });
}

/// Where there can be no such folder, state and locks stand beside the program.
#[test]
fn nothing_is_held_up_where_the_state_stands_beside_the_program() {
    in_a_cell(|| {
        install();
        let remount = ["-o", "remount,bind,ro", "/var/lib"];
        let bind = cell::root("mount", &["--bind", "/var/lib", "/var/lib"]).status();
        let remounted = cell::root("mount", &remount).status();
        assert!(bind.and(remounted).is_ok_and(|status| status.success()));
        let _locked = [INSTALLED, "/usr/local/bin", "/var/lib"].map(Stranger::locking);
        let mut site = Site::up();
        let next = Release::next();
        let mut session = site.has_upgraded(&next);
        assert_private("/usr/local/bin");
        session.acknowledge();
        site.agent.wait_for_log(&["confirmed"]);
        assert_private("/usr/local/bin");
    });
}

#[test]
fn an_installation_is_not_held_up() {
    in_a_cell(|| {
        cell::write(INSTALLED, "the one before");
        open_state_folder();
        let _locked = TARGETS.map(Stranger::locking);
        cell::write("/run/token", crate::support::TOKEN);
        let (succeeded, said) = cell::agent(&["install", "--token-file", "/run/token"]);
        assert!(succeeded, "{said}");
        assert!(said.contains(OWN_VERSION), "{said}");
    });
}

/// As by a backup, or by another command of ours that takes its time.
#[test]
fn a_roll_back_waits_for_a_lock_of_roots() {
    in_a_cell(|| {
        install();
        let mut site = Site::up();
        let session = site.has_upgraded(&Release::next());
        let mut held = cell::files_in(STATE_FOLDER);
        held.extend([PREVIOUS, INSTALLED, STATE_FOLDER].map(Into::into));
        let seconds = (PROBATION.as_secs() + 3).to_string();
        let mut words: Vec<&str> = Vec::new();
        for path in &held {
            words.extend(["flock", path.to_str().expect("made of ASCII")]);
        }
        words.extend(["sleep", &seconds]);
        let mut holder = cell::root(words[0], &words[1..]).spawn().expect("util-linux is there");
        site.expect_roll_back(session);
        assert!(holder.wait().expect("our child").success());
    });
}
