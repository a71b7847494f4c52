//! `register`: the session begins without waiting for its answer, and ends without a good one.

use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Frame, PATIENCE, Peer, Setup};

#[test]
fn requests_before_the_acknowledgement_are_served() {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer);
    setup.docker("exit 0");
    let _agent = setup.start();
    let mut session = peer.accept_upgraded();
    session.read_register();
    assert_eq!(session.request(1, "nope", json!({})).code(), -32601);
    let logs = session.request(2, "logs_fetch", json!({"container": "web"}));
    assert_eq!(*logs.result(), json!({"lines": []}));
    session.acknowledge();
    session.assert_quiet();
}

/// More in the result than `ok` is no reason to refuse it: gateways grow.
#[test]
fn acknowledgement_may_hold_more() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let mut session = peer.accept_upgraded();
    session.read_register();
    session.answer_register(r#""result":{"workspace":"w","ok":true}"#);
    agent.wait_for_log(&["registered"]);
    session.assert_quiet();
}

#[test]
fn refused_registration_closes_logs_why_and_dials_again() {
    let refusals = [
        (
            r#""error":{"code":-32050,"message":"instance vmkit-test-unknown"}"#,
            "vmkit-test-unknown",
        ),
        (r#""result":{"ok":false}"#, "register"),
        (r#""result":{"ok":"true"}"#, "register"),
        (r#""result":{"ok":1}"#, "register"),
        (r#""result":{}"#, "register"),
        (r#""result":true"#, "register"),
        (r#""result":null"#, "register"),
    ];
    for (refusal, reason) in refusals {
        let peer = Peer::plain();
        let agent = Agent::dialing(&peer).start();
        let mut session = peer.accept_upgraded();
        session.read_register();
        session.send_broken_answer(refusal);
        session.expect_close();
        drop(session);
        agent.wait_for_log(&["register", reason]);
        peer.accept_registered().assert_quiet();
    }
}

#[test]
fn registration_not_acknowledged_within_10_s_closes_and_dials_again() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let mut session = peer.accept_upgraded();
    session.read_register();
    let registered = std::time::Instant::now();
    // Served, but it is not the answer that is waited for.
    session.assert_quiet();
    session.expect_close();
    let waited = registered.elapsed();
    assert!(waited > Duration::from_millis(9_500), "{waited:?}");
    assert!(waited < Duration::from_secs(13), "{waited:?}");
    drop(session);
    agent.wait_for_log(&["register", "10"]);
    assert!(peer.accept_within(PATIENCE).is_some());
}

/// What a session says of itself, beside the five members that every gateway needs.
#[test]
fn the_machine_and_the_upgrades_are_told() {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer).env("VMKIT_LABELS", "role=db, vmkit.deploy=d-7");
    let _agent = setup.start();
    let mut session = peer.accept_upgraded();
    let params = session.read_register();
    assert_eq!(params["protocol"], 1);
    assert_eq!(params["labels"], json!({"role": "db", "vmkit.deploy": "d-7"}));
    assert_eq!(params["upgrade"], json!({"probation": null, "rolled_back": []}));
    let capabilities = params["capabilities"].as_array().expect("a list");
    assert!(capabilities.contains(&json!("logs_since")), "{capabilities:?}");
    let read = |path: &str| std::fs::read_to_string(path).expect("a Linux");
    assert_eq!(params["boot_id"], read("/proc/sys/kernel/random/boot_id").trim());
    let host = &params["host"];
    assert_eq!(host["kernel"], read("/proc/sys/kernel/osrelease").trim());
    assert!(host["mem_total"].as_u64() > Some(1 << 20), "{host}");
    assert!(host["cpus"].as_u64() >= Some(1), "{host}");
}

#[test]
fn a_refusal_with_retry_after_is_waited_out() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let mut session = peer.accept_upgraded();
    session.read_register();
    let error = r#""error":{"code":-32000,"message":"full","data":{"retry_after":300}}"#;
    session.answer_register(error);
    session.expect_close();
    // The backoff is added: from 0 to 1 s at the first attempt.
    agent.wait_for_log(&["full", "next try in 30"]);
}

#[test]
fn an_instance_id_that_another_machine_has_too_is_waited_out() {
    let (_peer, agent, mut session) = Agent::registered(Setup::new());
    session.send(&Frame::close(4409));
    session.expect_close();
    agent.wait_for_log(&[
        "4409",
        "another machine registers under the same instance id",
        "VMKIT_INSTANCE_ID",
        "/etc/machine-id",
        "next try in 6",
    ]);
}

/// The gateway keeps the session that is newer, as the protocol has it. The other agent stays away for
/// a minute: were it to come back at once, each would end the other's session for ever.
#[test]
fn two_agents_with_one_instance_id_do_not_chase_each_other() {
    let peer = Peer::plain();
    let first = Agent::dialing(&peer).start();
    let mut older = peer.accept_upgraded();
    let id = older.read_register()["instance_id"].clone();
    older.acknowledge();
    let second = Agent::dialing(&peer).start();
    let mut newer = peer.accept_upgraded();
    assert_eq!(newer.read_register()["instance_id"], id);
    newer.acknowledge();
    older.send(&Frame::close(4409));
    assert_eq!(older.expect_close(), 4409);
    drop(older);
    let line = first.wait_for_log(&["4409", "same instance id", "next try in "]);
    let delay = line.rsplit_once("next try in ").and_then(|(_, rest)| rest.strip_suffix(" s"));
    let delay: f64 = delay.expect("seconds").parse().expect("a number");
    assert!((60.0..=61.0).contains(&delay), "{line}");
    // Without that minute, it would be back within the first second.
    assert!(peer.accept_within(Duration::from_secs(5)).is_none(), "it came back");
    newer.assert_quiet();
    let log = second.log();
    assert!(!log.iter().any(|line| line.contains("lost")), "{log:#?}");
}
