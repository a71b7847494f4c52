//! The state of upgrades: doctor reads it and does not change it.

use std::{cell::RefCell, fs, path::PathBuf, rc::Rc};

use crate::{
    gateway::Gateway,
    machine::{Findings, Machine},
};

const STATE: &str = "var/lib/vmkit-agent/upgrade.json";

/// Doctor's findings where this is the state of upgrades.
fn remembering(text: &str) -> Findings {
    let gateway = Gateway::good("now");
    let roots: Rc<RefCell<Vec<PathBuf>>> = Rc::default();
    let (known, written) = (Rc::clone(&roots), text.to_owned());
    let machine = Machine::dialing(&gateway.url).spoil(move |root| {
        root.write(STATE, &written);
        known.borrow_mut().push(root.path.clone());
    });
    let findings = machine.examine();
    for root in roots.borrow().iter().filter(|root| root.exists()) {
        assert_eq!(fs::read_to_string(root.join(STATE)).ok().as_deref(), Some(text));
    }
    findings
}

#[test]
fn version_that_was_rolled_back() {
    let findings = remembering(
        r#"{"rolled_back":[{"version":"9.9.9","checksum":
            "00000000000000000000000000000000000000000000000000000000000000ff",
            "reason":"crashed 3 times","at":1767225600,"reported":true}]}"#,
    );
    // The version before it runs, and runs well.
    findings.assert_sound();
    let words = ["9.9.9", "crashed 3 times", "2026-01-01", "sudo grep", "/var/log/messages"];
    findings.of("upgrade-state").assert("WARN", &words);
}

#[test]
fn version_on_probation() {
    for (ago, left) in [(30, " s left of 120 s"), (200, "its time is over")] {
        let findings = remembering(&trial(ago));
        findings.assert_sound();
        let words = ["9.9.9", "on probation", "started 2 times", left, "the agent rolls it back"];
        findings.of("upgrade-state").assert("WARN", &words);
    }
    let another_boot = trial(30).replace("\"boot\":\"", "\"boot\":\"another ");
    let findings = remembering(&another_boot);
    findings.of("upgrade-state").assert("WARN", &["120 s from its first start after the reboot"]);
}

#[test]
fn damaged_state() {
    let findings = remembering("{");
    findings.assert_sound();
    findings.of("upgrade-state").assert("WARN", &["upgrade.json", "damaged"]);
}

/// A state file with a version on trial, whose probation began so many seconds ago.
pub fn trial(ago: u64) -> String {
    let read = |path: &str| fs::read_to_string(path).expect("every Linux has it");
    let kernel = read("/proc/sys/kernel/random/boot_id");
    // The start of process 1 is the 22nd field, the 20th after the name in parentheses.
    let first = read("/proc/1/stat");
    let mut fields = first.rsplit(')').next().expect("there is a name").split_whitespace();
    let first = fields.nth(19).expect("there are 52").to_owned();
    let uptime = read("/proc/uptime");
    let uptime: u64 = uptime.split('.').next().expect("a part").parse().expect("seconds");
    let (kernel, began) = (kernel.trim(), uptime - ago);
    format!(
        r#"{{"trial":{{"version":"9.9.9","checksum":
            "00000000000000000000000000000000000000000000000000000000000000ff",
            "installed":"/vmkit-test/vmkit-agent","previous":"/vmkit-test/vmkit-agent.prev",
            "since":{{"boot":"{kernel} {first}","seconds":{began}}},"probation":120,"starts":2,
            "stage":"staged","restart":null,"agent":null}}}}"#
    )
}
