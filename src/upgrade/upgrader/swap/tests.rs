//! Staging, testing and swapping in folders of the tests' own.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::run::wait::Waiter;
use crate::upgrade::binary::put_back;
use crate::upgrade::error::Kind;
use crate::upgrade::paths::previous;
use crate::upgrade::tests::{Folder, checksum_of};

/// Stages a script in a folder of its own and tests it.
fn tested(script: &str) -> Result<(), Error> {
    // Each `Children` reaps every child of the process, so two would reap each other's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new();
    let installed = folder.file("agent", b"old");
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o755)).unwrap();
    let download = folder.file("download", script.as_bytes());
    let mut download = File::open(download).unwrap();
    let checksum = checksum_of(script.as_bytes());
    let staged = Staged::copy(&mut download, &checksum, &installed).unwrap();
    let children = Children::new(Waiter::new().unwrap(), Vec::new());
    let outcome = staged.test(&Version::try_from("1.2.3".to_owned()).unwrap(), &children);
    drop(staged);
    assert_eq!(folder.names(), ["agent", "download"]);
    outcome
}

#[test]
fn a_binary_that_names_its_version_is_fit() {
    tested("#!/bin/sh\necho vmkit-agent 1.2.3 '(0123456789ab)'\n").unwrap();
}

#[test]
fn other_binaries_are_unfit() {
    for (script, why) in [
        ("#!/bin/sh\necho vmkit-agent 1.2.4\n", "says \"vmkit-agent 1.2.4\""),
        ("#!/bin/sh\necho vmkit-agent 1.2.3; echo broken >&2; exit 1\n", "broken"),
        ("#!/bin/sh\n", "says \"\""),
        ("#!/nonexistent\n", "does not run on this machine"),
        ("#!/bin/sh\nsleep 60 & sleep 60\n", "did not end within 5 s"),
    ] {
        let error = tested(script).unwrap_err();
        assert_eq!(error.kind, Kind::Unfit);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_test_sees_nothing_of_our_environment() {
    tested("#!/bin/sh\n[ \"$(env | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL=)\" = '' ] && echo vmkit-agent 1.2.3\n").unwrap();
}

#[test]
fn a_staged_binary_has_the_installed_ones_mode_and_takes_its_place() {
    let folder = Folder::new();
    let installed = folder.file("agent", b"old");
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o751)).unwrap();
    // Left by a crash.
    folder.file("agent.new", b"half");
    let mut download = File::open(folder.file("download", b"new")).unwrap();
    let staged = Staged::copy(&mut download, &checksum_of(b"new"), &installed).unwrap();
    keep_previous(&installed).unwrap();
    // The second time both names are links to one file.
    keep_previous(&installed).unwrap();
    staged.install().unwrap();
    assert_eq!(folder.names(), ["agent", "agent.prev", "download"]);
    assert_eq!(fs::read(&installed).unwrap(), b"new");
    assert_eq!(fs::metadata(&installed).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(fs::read(previous(&installed)).unwrap(), b"old");
    put_back(&previous(&installed), &installed).unwrap();
    assert_eq!(fs::read(&installed).unwrap(), b"old");
    assert_eq!(folder.names(), ["agent", "agent.prev", "download"]);
}

#[test]
fn a_file_that_changed_since_the_download_is_not_staged() {
    let folder = Folder::new();
    let installed = folder.file("agent", b"old");
    let mut download = File::open(folder.file("download", b"new")).unwrap();
    let error =
        Staged::copy(&mut download, &checksum_of(b"other"), &installed).map(drop).unwrap_err();
    assert_eq!(error.kind, Kind::NotReplaced);
    assert_eq!(folder.names(), ["agent", "download"]);
}

#[test]
fn a_link_in_the_way_is_removed_and_not_followed() {
    let folder = Folder::new();
    let installed = folder.file("agent", b"old");
    let victim = folder.file("victim", b"precious");
    std::os::unix::fs::symlink(&victim, folder.path().join("agent.new")).unwrap();
    let mut download = File::open(folder.file("download", b"new")).unwrap();
    Staged::copy(&mut download, &checksum_of(b"new"), &installed).unwrap().install().unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read(&installed).unwrap(), b"new");
}
