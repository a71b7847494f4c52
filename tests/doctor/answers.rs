//! Answers to the upgrade request: by the gateway, or by another server in its place.

use crate::{gateway::Gateway, machine::Machine, support::TOKEN};

#[track_caller]
fn refused(head: &str, words: &[&str]) {
    let gateway = Gateway::refusing(head);
    let findings = Machine::dialing(&gateway.url).examine();
    findings.assert_first_fail("http", words);
    findings.of("tcp").assert("PASS", &[]);
    // A refusal has the time, too.
    findings.of("clock").assert("PASS", &[]);
}

#[test]
fn wrong_token() {
    refused("401 Unauthorized", &["401", "refuses the token", "install --token-stdin"]);
}

#[test]
fn wrong_path() {
    refused(
        "404 Not Found",
        &["404", "no such endpoint", "VMKIT_GATEWAY_URL", "vi /etc/vmkit/agent.env"],
    );
}

#[test]
fn captive_portal() {
    refused("200 OK\nContent-Type: text/html", &["200", "captive portal"]);
}

#[test]
fn redirect_that_repeats_the_token() {
    let head = format!("302 Found\nLocation: https://login.vmkit-test.example/{TOKEN}/x");
    refused(&head, &["302", "login.vmkit-test.example/***/x"]);
}

#[test]
fn clock_that_is_off() {
    for (skew, words) in [("+2 hours", "behind"), ("-1 day", "ahead of")] {
        let gateway = Gateway::good(skew);
        let findings = Machine::dialing(&gateway.url).examine();
        findings.assert_sound();
        findings.of("clock").assert("WARN", &[words, "timedatectl"]);
        let worse = findings.checks.iter().filter(|finding| finding.verdict == "WARN");
        let worse: Vec<_> = worse.map(|finding| &*finding.check).collect();
        assert_eq!(worse.first(), Some(&"clock"), "{worse:?}");
    }
}
