//! The name in `/tmp` that a download would have, taken by another user: the upgrade goes on.

use std::fs;

use crate::cell::{self, STATE_FOLDER, in_a_cell, install};
use crate::site::Site;
use crate::stranger::Stranger;
use crate::support::Release;

const SECRET: &str = "/etc/vmkit-test-secret";

/// Upgrades where the script has made something of the name that it is given. The log.
fn upgrade_in_spite_of(script: &str) -> (String, Vec<String>) {
    install();
    cell::write(SECRET, "as it was");
    let next = Release::next();
    let name = format!("/tmp/vmkit-agent-{}", next.version);
    Stranger::has_run(script, &[&name, SECRET]);
    let mut site = Site::up();
    let mut session = site.has_upgraded(&next);
    site.confirm(&mut session, &next);
    assert_eq!(fs::read_to_string(SECRET).expect("nobody removes it"), "as it was");
    (name, site.agent.log())
}

/// `unlink` can't remove a folder, and the error has to say so.
#[test]
fn a_folder() {
    in_a_cell(|| {
        let (name, log) = upgrade_in_spite_of("mkdir \"$1\"; echo mine >\"$1/file\"");
        let told = log.iter().any(|line| line.contains(&name) && line.contains(STATE_FOLDER));
        assert!(told, "no line names {name} and {STATE_FOLDER}: {log:#?}");
        assert!(fs::exists(name + "/file").is_ok_and(|there| there), "it was not ours to remove");
    });
}

#[test]
fn a_fifo() {
    in_a_cell(|| drop(upgrade_in_spite_of("mkfifo \"$1\"")));
}

#[test]
fn a_link() {
    in_a_cell(|| drop(upgrade_in_spite_of("ln -s \"$2\" \"$1\"")));
}

#[test]
fn a_file() {
    in_a_cell(|| drop(upgrade_in_spite_of("echo mine >\"$1\"; chmod 0 \"$1\"")));
}
