//! `agent_upgrade`, from the request to the next version's `register`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Agent, Download, OWN_VERSION, PATIENCE, Peer, Release, Server, Session, Setup, poll_until,
};

const BUSY: i64 = -32004;
const INVALID_PARAMS: i64 = -32602;
const UNFIT: i64 = -32012;

pub fn params(url: &str, release: &Release) -> Value {
    let Release { version, .. } = release;
    json!({"version": version, "download_url": url, "checksum_sha256": release.sha256()})
}

/// An agent that may replace itself, and its first session. A new version has two minutes, as by
/// default: time enough on a busy machine.
pub fn installed() -> (Peer, Agent, Session) {
    Agent::registered(Setup::new().installed())
}

/// The same for a new version that is to be rolled back.
fn with_short_probation() -> (Peer, Agent, Session) {
    Agent::registered(Setup::new().installed().env("VMKIT_UPGRADE_PROBATION_SECS", "6"))
}

/// An upgrade leaves no file beside the binary and the previous binary.
#[track_caller]
pub fn assert_clean(agent: &Agent, version: &str) {
    let gone = [
        agent.path("vmkit-agent.new"),
        agent.path("vmkit-agent.prev.new"),
        Path::new("/tmp").join(format!("vmkit-agent-{version}")),
    ];
    for path in gone {
        assert!(fs::symlink_metadata(&path).is_err(), "{} is still there", path.display());
    }
}

#[track_caller]
pub fn register_of(peer: &Peer) -> (Session, Value) {
    let (mut session, register) = peer.accept_register(PATIENCE).expect("the agent dials");
    session.acknowledge();
    (session, register)
}

#[test]
fn the_next_version_takes_over() {
    let server = Server::plain();
    let (peer, agent, mut session) = installed();
    let own = fs::read(agent.path("vmkit-agent")).expect("it is installed");
    let next = Release::next();
    let url = server.offer("agent?key=secret", next.bytes.clone(), Download::Whole);
    session.send_request("u", "agent_upgrade", params(&url, &next));
    assert_eq!(*session.response_to("u", PATIENCE).result(), json!({"status": "upgrading"}));
    assert_eq!(session.expect_close(), 1001);
    let left = Instant::now();
    let (_session, register) = register_of(&peer);
    assert!(left.elapsed() < Duration::from_secs(5), "away for {:?}", left.elapsed());
    assert_eq!(register["version"], *next.version);
    agent.wait_for_log(&["confirmed"]);
    assert!(fs::read(agent.path("vmkit-agent")).expect("it is installed") == next.bytes);
    assert!(fs::read(agent.path("vmkit-agent.prev")).expect("it is kept") == own);
    assert_clean(&agent, &next.version);
    assert!(!agent.path("state/upgrade.json").exists(), "there is nothing to remember");
    let log = agent.log().join("\n");
    let mut story = log.as_str();
    for word in
        ["requested", "downloaded", "verified", "tested", "swapped", "restarting", "confirmed"]
    {
        let (_, rest) = story.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {log}"));
        story = rest;
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn an_upgrade_outlives_the_session_it_was_asked_for_in() {
    let server = Server::plain();
    let (peer, _agent, mut session) = installed();
    let slow = Download::Slow(Duration::from_secs(4));
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), slow);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    session.ping(b"the request is in");
    drop(session);
    let (mut session, register) = register_of(&peer);
    assert_eq!(register["version"], *OWN_VERSION);
    assert_eq!(session.request(2, "agent_upgrade", params(&url, &next)).code(), BUSY);
    assert_eq!(session.expect_close(), 1001);
    assert_eq!(register_of(&peer).1["version"], *next.version);
}

#[test]
fn wrong_params_start_nothing() {
    let (_peer, agent, mut session) = installed();
    let sum = "0".repeat(64);
    for (version, url, checksum) in [
        ("", "https://localhost/a", sum.as_str()),
        ("-1", "https://localhost/a", &sum),
        ("1/2", "https://localhost/a", &sum),
        ("../1", "https://localhost/a", &sum),
        (&"1".repeat(65), "https://localhost/a", &sum),
        ("1", "http://192.0.2.1/a", &sum),
        ("1", "http://example.com/a", &sum),
        ("1", "ftp://localhost/a", &sum),
        ("1", "file:///etc/passwd", &sum),
        ("1", "", &sum),
        ("1", "https://localhost/a", &sum[1..]),
        ("1", "https://localhost/a", &"g".repeat(64)),
    ] {
        let request = json!({"version": version, "download_url": url, "checksum_sha256": checksum});
        assert_eq!(session.broken_request(1, "agent_upgrade", request).code(), INVALID_PARAMS);
    }
    for request in [json!({}), json!({"version": "1"}), json!(null)] {
        assert_eq!(session.broken_request(1, "agent_upgrade", request).code(), INVALID_PARAMS);
    }
    assert!(!agent.log().iter().any(|line| line.contains("requested")));
}

/// Without an init system nobody restarts anything but the guard.
#[test]
fn a_version_that_ends_at_once_is_rolled_back() {
    let server = Server::plain();
    let (peer, agent, mut session) = with_short_probation();
    let broken = Release::script("exit 1");
    let url = server.offer("broken", broken.bytes.clone(), Download::Whole);
    session.send_request(1, "agent_upgrade", params(&url, &broken));
    assert!(session.response_to(1, PATIENCE).result().is_object());
    assert_eq!(session.expect_close(), 1001);
    let back = peer.accept_register(Duration::from_secs(60));
    let (mut session, register) = back.expect("the previous version is back");
    assert_eq!(register["version"], *OWN_VERSION);
    session.acknowledge();
    let told = session.next_notification("upgrade_rolled_back");
    assert_eq!((&told["cause"], &told["banned"]), (&json!("never_started"), &json!(true)));
    assert!(told["reason"].as_str().is_some_and(|why| why.contains("its start")), "{told}");
    assert_eq!(told["version"], *broken.version);
    assert_eq!(told["checksum_sha256"], broken.sha256());
    let refused = session.request(2, "agent_upgrade", params(&url, &broken));
    assert_eq!(refused.code(), UNFIT);
    assert!(refused.message().contains("rolled back at"), "{}", refused.message());
    assert_clean(&agent, &broken.version);
    // Told once; the next session does not hear of it again.
    drop(session);
    let (mut session, _) = register_of(&peer);
    session.assert_quiet();
}

#[test]
fn a_version_that_is_not_acknowledged_is_rolled_back() {
    let server = Server::plain();
    let (peer, agent, mut session) = with_short_probation();
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(session.expect_close(), 1001);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (mut session, register) = peer.accept_register(PATIENCE).expect("somebody dials");
        let version = &register["version"];
        if *version == *OWN_VERSION {
            session.acknowledge();
            session.next_notification("upgrade_rolled_back");
            break;
        }
        session.answer_register(r#""error":{"code":1,"message":"not you"}"#);
        assert!(Instant::now() < deadline, "{version} is still there");
        drop(session);
    }
    poll_until("the old binary", PATIENCE, || {
        let there = fs::read(agent.path("vmkit-agent")).expect("it is installed");
        (there != next.bytes).then_some(())
    });
}
