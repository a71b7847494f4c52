//! For unit tests that start children.

use std::io::Read;
use std::process::{Command, Stdio};
use std::{env, thread};

const ALONE: &str = "VMKIT_TEST_ALONE";

/// Runs `test` in a process of its own. The program reaps all of its children together, so in one
/// process with others a test would take their children, and they its.
#[track_caller]
pub fn alone(test: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return test();
    }
    let name = thread::current().name().expect("tests have names").to_owned();
    let mut child = Command::new(env::current_exe().expect("this file"))
        .args([&name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        // What a configuration needs.
        .env("VMKIT_AGENT_TOKEN", "vmkit-test-token")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be run");
    let mut said = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    // Another test may have reaped it.
    let _ = child.wait();
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
}
