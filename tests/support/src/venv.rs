//! Python environments for peers that are written in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of an environment with what this file of requirements lists.
#[track_caller]
pub fn venv(requirements: impl AsRef<Path>) -> PathBuf {
    let mut venv = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/build/venv"));
    let made = venv.arg(requirements.as_ref()).output().expect("the script is there");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no Python environment: {said}");
    PathBuf::from(String::from_utf8_lossy(&made.stdout).trim())
}
