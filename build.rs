//! Sets two variables for the compiler. `VMKIT_COMMIT` is the commit that the program is built from:
//! the variable of that name, else the first 12 digits of git's HEAD, else empty. `RELEASE_PUBKEY` is
//! the minisign key that upgrades must be signed with: the variable of that name, else empty.

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

/// Checks the release key. An agent with an invalid key would refuse every upgrade.
///
/// # Errors
/// One line: what is wrong with the key.
pub fn check_key(key: &str) -> Result<(), String> {
    match minisign_verify::PublicKey::from_base64(key) {
        Err(error) if !key.is_empty() => {
            Err(format!("{error}; it is the second line of a minisign.pub file"))
        }
        _ => Ok(()),
    }
}

fn head() -> String {
    // A tarball unpacked inside another project's checkout must not name that project's commit.
    if !Path::new(".git").exists() {
        return String::new();
    }
    // Build again when HEAD moves: its log grows then. A clone without logs has HEAD and its branch.
    // Only existing files are named: cargo takes a missing file for a change.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", &branch].into_iter().filter(|name| !name.is_empty()) {
        let path = git(&["rev-parse", "--git-path", name]);
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--quiet", "--verify", "HEAD"])
}

/// git's output; empty if git fails: not installed, no commit yet, HEAD on no branch.
fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
