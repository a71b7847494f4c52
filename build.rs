//! Tells the program which commit it was built from, as `VMKIT_COMMIT`: the first 12 digits of
//! git's HEAD. A build outside of a checkout takes it from the variable of the same name; empty
//! where neither knows. And whose signature upgrades need, as `RELEASE_PUBKEY`, which comes from
//! the variable of the same name; empty where there is none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=VMKIT_COMMIT");
    let commit = std::env::var("VMKIT_COMMIT").unwrap_or_else(|_| head());
    println!("cargo::rustc-env=VMKIT_COMMIT={}", commit.get(..12).unwrap_or(&commit));
    println!("cargo::rerun-if-env-changed=RELEASE_PUBKEY");
    let key = std::env::var("RELEASE_PUBKEY").unwrap_or_default();
    match check_key(&key) {
        Ok(()) => println!("cargo::rustc-env=RELEASE_PUBKEY={key}"),
        Err(problem) => println!("cargo::error=RELEASE_PUBKEY: {problem}"),
    }
}

/// An agent with a key that is none would refuse every upgrade, so there must be no such agent.
pub fn check_key(key: &str) -> Result<(), String> {
    match minisign_verify::PublicKey::from_base64(key) {
        Err(error) if !key.is_empty() => {
            Err(format!("{error}; it is the second line of a minisign.pub file"))
        }
        _ => Ok(()),
    }
}

fn head() -> String {
    // Without this, a tarball unpacked inside some other checkout would name that one's commit.
    if !Path::new(".git").exists() {
        return String::new();
    }
    // HEAD's log grows with whatever moves it, its branch or both; a clone without logs has the
    // other two. One that is not there must not be named: cargo takes that for a change.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", &branch].into_iter().filter(|name| !name.is_empty()) {
        let path = git(&["rev-parse", "--git-path", name]);
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--quiet", "--verify", "HEAD"])
}

/// What git says, empty where it fails: not installed, no commit yet, HEAD on no branch.
fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
