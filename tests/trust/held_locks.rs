//! Locks that another user holds on whatever everybody can open: nothing waits for them, nothing is
//! refused or given up for them. A lock of root's is worth waiting for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cell::{self, INSTALLED, ON_START, PREVIOUS, STATE_FOLDER, in_a_cell, install};
use crate::site::{
    SHORT_PROBATION, Site, expect_previous, expect_roll_back, gateway, open_state_folder,
};
use crate::stranger::Stranger;
use crate::support::{OWN_VERSION, PATIENCE, Release, Session, TOKEN, agent_program, poll_until};

/// The files and folders that earlier versions have locked. The installed program becomes the
/// previous one.
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

/// Only root can open the files in this folder, but for the programs.
#[track_caller]
fn assert_private(folder: &str) {
    let mut files = cell::files_in(folder);
    files.retain(|path| ![INSTALLED, PREVIOUS].map(Path::new).contains(&path.as_path()));
    assert!(!files.is_empty(), "state and locks are somewhere");
    for path in files {
        let mode = fs::metadata(&path).expect("it was listed").mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
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
    });
}

#[test]
fn an_upgrade_by_hand_is_not_held_up() {
    in_a_cell(|| {
        let mut strangers = eyed();
        lock_all(&mut strangers);
        let site = Site::up();
        let next = Release::next();
        let said = site.upgrade_by_hand(&next);
        assert!(said.contains("restart the agent now"), "{said}");
        assert!(fs::read(INSTALLED).expect("it is installed") == next.bytes);
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
        let mut site = Site::with_short_probation();
        let session = site.has_upgraded(&Release::next());
        lock_all(&mut strangers);
        let _new = Stranger::locking(INSTALLED);
        drop(session);
        expect_roll_back(&site.peer);
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
        site.confirm(&mut session, &next);
    });
}

#[test]
fn an_installation_is_not_held_up() {
    in_a_cell(|| {
        cell::write(INSTALLED, "the one before");
        open_state_folder();
        let _locked = TARGETS.map(Stranger::locking);
        cell::write("/run/token", TOKEN);
        let (succeeded, said) = cell::agent(&["install", "--token-file", "/run/token"]);
        assert!(succeeded, "{said}");
        assert!(said.contains(*OWN_VERSION), "{said}");
    });
}

/// Root's own, at the same time, is another matter.
#[test]
fn an_installation_beside_another_is_refused() {
    in_a_cell(|| {
        install();
        gateway();
        cell::systemd();
        let wait = "touch /run/starting; until [ -e /run/go-on ]; do sleep 0.01; done";
        cell::write(ON_START, wait);
        let mut first = cell::root(&agent_program(), &["install"]).spawn().expect("it was built");
        poll_until("the start of the service", PATIENCE, || {
            fs::exists("/run/starting").is_ok_and(|there| there).then_some(())
        });
        let (succeeded, said) = cell::agent(&["install"]);
        assert!(!succeeded && said.contains("another installation is under way"), "{said}");
        cell::write("/run/go-on", "");
        assert!(first.wait().expect("our child").success());
    });
}

/// All that a roll-back could lock is locked by root, from before the end of the probation until
/// three seconds after it.
fn roll_back_while_root_holds_the_locks() -> (Site, Session) {
    install();
    let mut site = Site::with_short_probation();
    let session = site.has_upgraded(&Release::next());
    let mut files = cell::files_in(STATE_FOLDER);
    // The guard itself holds this lock.
    files.retain(|file| !file.ends_with("upgrade.watch.lock"));
    files.extend([PREVIOUS, INSTALLED, STATE_FOLDER].map(Into::into));
    let mut words: Vec<&str> = Vec::new();
    for path in &files {
        words.extend(["flock", path.to_str().expect("made of ASCII")]);
    }
    let seconds = (SHORT_PROBATION.as_secs() + 3).to_string();
    words.extend(["sleep", &seconds]);
    let mut holder = cell::root(words[0], &words[1..]).spawn().expect("util-linux is there");
    drop(session);
    let (session, _) = expect_previous(&site.peer);
    assert!(holder.wait().expect("our child").success());
    // With the site, all agents end.
    (site, session)
}

#[test]
fn a_roll_back_happens_whatever_root_has_locked() {
    in_a_cell(|| drop(roll_back_while_root_holds_the_locks()));
}

/// The note on it is written as soon as it can be: the gateway hears of it, and the binary counts as
/// one that was rolled back.
#[test]
fn a_roll_back_that_could_not_be_written_down_at_once_is_told() {
    in_a_cell(|| {
        let (_site, mut session) = roll_back_while_root_holds_the_locks();
        session.next_notification("upgrade_rolled_back");
    });
}
