//! What is remembered of upgrades, read and left as it is.

use std::{cell::RefCell, fs, path::PathBuf, rc::Rc};

use crate::{
    gateway::Gateway,
    machine::{Findings, Machine},
};

const STATE: &str = "var/lib/vmkit-agent/upgrade.json";

/// What doctor says where this is remembered.
fn remembering(text: &'static str) -> Findings {
    let gateway = Gateway::good("now");
    let roots: Rc<RefCell<Vec<PathBuf>>> = Rc::default();
    let known = Rc::clone(&roots);
    let machine = Machine::dialing(&gateway.url).spoil(move |root| {
        root.write(STATE, text);
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
    let words = ["9.9.9", "crashed 3 times", "2026-01-01", "/var/log/messages"];
    findings.assert_first_fail("upgrade-state", &words);
}

#[test]
fn version_on_probation() {
    let findings = remembering(
        r#"{"trial":{"version":"9.9.9","checksum":
            "00000000000000000000000000000000000000000000000000000000000000ff",
            "installed":"/vmkit-test/vmkit-agent","previous":"/vmkit-test/vmkit-agent.prev",
            "since":{"boot":"x","seconds":1},"probation":120,"starts":2,"stage":"staged",
            "restart":null,"agent":null}}"#,
    );
    findings.assert_sound();
    findings.of("upgrade-state").assert("WARN", &["9.9.9", "probation", "start 2", "120 s"]);
}

#[test]
fn damaged_state() {
    let findings = remembering("{");
    findings.assert_sound();
    findings.of("upgrade-state").assert("WARN", &["upgrade.json", "damaged"]);
}
