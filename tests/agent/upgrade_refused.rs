//! Upgrades that come to nothing: a clear error, the session goes on, nothing is changed.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Download, Peer, Release, Server};
use crate::upgrade::{assert_clean, installed, params};

const BUSY: i64 = -32004;
const DOWNLOAD_FAILED: i64 = -32010;
const CHECKSUM_MISMATCH: i64 = -32011;
const UNFIT: i64 = -32012;
/// The self-test of a binary that hangs takes five seconds.
const WITHIN: Duration = Duration::from_secs(40);

/// Offers `release`, has the agent take it for `expected`, and looks at what it says.
#[track_caller]
fn refuse(release: &Release, how: Download, expected: &Release, code: i64, words: &str) {
    let (peer, server) = (Peer::plain(), Server::plain());
    let (agent, mut session) = installed(&peer);
    let before = fs::read(agent.path("vmkit-agent")).expect("it is installed");
    let url = server.offer("agent", release.bytes.clone(), how);
    session.send_request(1, "agent_upgrade", params(&url, expected));
    let response = session.response_to(1, WITHIN);
    assert_eq!(response.code(), code, "{}", response.message());
    assert!(response.message().contains(words), "{}", response.message());
    agent.wait_for_log(&["given up", words]);
    assert!(fs::read(agent.path("vmkit-agent")).expect("it is installed") == before);
    assert_clean(&agent, &expected.version);
    session.ping(b"the session goes on");
    assert!(!agent.path("state/upgrade.json").exists(), "there is nothing to remember");
}

#[test]
fn another_checksum() {
    let (next, other) = (Release::next(), Release::unfit("another"));
    refuse(&next, Download::Whole, &other, CHECKSUM_MISMATCH, "checksum mismatch");
}

#[test]
fn a_download_that_ends_early() {
    let next = Release::next();
    refuse(&next, Download::Truncated, &next, DOWNLOAD_FAILED, "http://localhost");
}

#[test]
fn a_download_that_is_longer_than_it_was_to_be() {
    let next = Release::next();
    refuse(&next, Download::Overlong, &next, CHECKSUM_MISMATCH, "checksum mismatch");
}

#[test]
fn a_server_that_is_not_there() {
    let peer = Peer::plain();
    let (agent, mut session) = installed(&peer);
    let nothing = Release::unfit("");
    let request = params("http://user:pass@127.0.0.1:1/agent?key=secret", &nothing);
    let response = session.request(1, "agent_upgrade", request);
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    let message = response.message();
    assert!(message.contains("http://127.0.0.1:1/agent"), "{message}");
    assert!(!message.contains("secret") && !message.contains("pass"), "{message}");
    assert_clean(&agent, &nothing.version);
}

#[test]
fn a_page_that_is_not_found() {
    let (peer, server) = (Peer::plain(), Server::plain());
    let (agent, mut session) = installed(&peer);
    let nothing = Release::unfit("");
    let url = server.offer("agent", *b"", Download::Whole).replace("agent", "elsewhere");
    let response = session.request(1, "agent_upgrade", params(&url, &nothing));
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    assert!(response.message().contains("404"), "{}", response.message());
    assert_clean(&agent, &nothing.version);
}

#[test]
fn a_page_where_a_binary_should_be() {
    let page = Release::unfit("<!doctype html><title>Sign in</title>");
    refuse(&page, Download::Whole, &page, UNFIT, "does not run");
}

#[test]
fn part_of_a_binary_with_the_right_checksum() {
    let mut part = Release::next();
    // Of a debug build, most is at the end and not missed.
    part.bytes.truncate(part.bytes.len() / 10);
    refuse(&part, Download::Whole, &part, UNFIT, &part.version);
}

#[test]
fn another_version() {
    let other = Release::script("exit");
    let expected = Release::unfit(other.bytes.clone());
    refuse(&other, Download::Whole, &expected, UNFIT, &other.version);
}

#[test]
fn one_that_hangs_when_asked() {
    let hangs = Release::unfit("#!/bin/sh\nexec sleep 1000\n");
    refuse(&hangs, Download::Whole, &hangs, UNFIT, "5 s");
}

#[test]
fn one_that_fails_when_asked() {
    let fails = Release::unfit("#!/bin/sh\nexit 3\n");
    refuse(&fails, Download::Whole, &fails, UNFIT, "exit status: 3");
}

/// A link in its way is removed, never followed.
#[test]
fn a_link_at_the_downloads_place() {
    let (peer, server) = (Peer::plain(), Server::plain());
    let (agent, mut session) = installed(&peer);
    let rubbish = Release::unfit("rubbish");
    let target = agent.path("precious");
    fs::write(&target, "precious").expect("the directory is the test's own");
    let link = format!("/tmp/vmkit-agent-{}", rubbish.version);
    std::os::unix::fs::symlink(&target, link).expect("/tmp can be written to");
    let url = server.offer("agent", rubbish.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &rubbish));
    assert_eq!(response.code(), UNFIT, "{}", response.message());
    assert_eq!(fs::read(&target).expect("it is there"), b"precious");
    assert_clean(&agent, &rubbish.version);
}

#[test]
fn a_second_one_while_the_first_runs() {
    let (peer, server) = (Peer::plain(), Server::plain());
    let (_agent, mut session) = installed(&peer);
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Stalled);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(session.request(2, "agent_upgrade", params(&url, &next)).code(), BUSY);
    let snapshot = session.request(3, "metrics_collect", json!({}));
    assert!(snapshot.result().is_object());
}

#[test]
fn without_a_signature_where_a_key_is_set() {
    let (peer, server) = (Peer::plain(), Server::plain());
    // The key of minisign's own documentation: nothing here is signed with it.
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let agent = Agent::dialing(&peer).installed().env("VMKIT_UPGRADE_PUBKEY", key).start();
    let mut session = peer.accept_registered();
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(response.code(), CHECKSUM_MISMATCH, "{}", response.message());
    assert!(response.message().contains("minisig"), "{}", response.message());
    assert!(fs::read(agent.path("vmkit-agent")).is_ok_and(|there| there != next.bytes));
    assert_clean(&agent, &next.version);
}
