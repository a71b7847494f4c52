//! Upgrades that come to nothing: a clear error, the session goes on, nothing is changed.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Download, Release, Server, Setup};
use crate::upgrade::{assert_clean, installed, params};

const BUSY: i64 = -32004;
const DOWNLOAD_FAILED: i64 = -32010;
const CHECKSUM_MISMATCH: i64 = -32011;
const UNFIT: i64 = -32012;
const FORBIDDEN: i64 = -32014;
/// The self-test of a binary that hangs takes five seconds.
const WITHIN: Duration = Duration::from_secs(40);

/// All that a gateway hears of a download from this machine or its network.
fn sealed(url: &str) -> String {
    format!("the download from {url} failed; the agent's log has the reason")
}

/// Offers `release`, has the agent take it for `expected`, and looks at what it says.
#[track_caller]
fn refuse(release: &Release, how: Download, expected: &Release, code: i64, words: &str) {
    let server = Server::plain();
    let (_peer, agent, mut session) = installed();
    let before = fs::read(agent.path("vmkit-agent")).expect("it is installed");
    let url = server.offer("agent", release.bytes.clone(), how);
    session.send_request(1, "agent_upgrade", params(&url, expected));
    let response = session.response_to(1, WITHIN);
    assert_eq!(response.code(), code, "{}", response.message());
    match code {
        // The gateway is not told what is at a loopback address.
        DOWNLOAD_FAILED => assert_eq!(response.message(), sealed(&url)),
        _ => assert!(response.message().contains(words), "{}", response.message()),
    }
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
    let (_peer, agent, mut session) = installed();
    let nothing = Release::unfit("");
    let request = params("http://user:pass@127.0.0.1:1/agent?key=secret", &nothing);
    let response = session.request(1, "agent_upgrade", request);
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    assert_eq!(response.message(), sealed("http://127.0.0.1:1/agent"));
    let line = agent.wait_for_log(&["given up", "http://127.0.0.1:1/agent", "refused"]);
    assert!(!line.contains("secret") && !line.contains("pass"), "{line}");
    assert_clean(&agent, &nothing.version);
}

#[test]
fn a_page_that_is_not_found() {
    let server = Server::plain();
    let (_peer, agent, mut session) = installed();
    let nothing = Release::unfit("");
    let url = server.offer("agent", *b"", Download::Whole).replace("agent", "elsewhere");
    let response = session.request(1, "agent_upgrade", params(&url, &nothing));
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    assert_eq!(response.message(), sealed(&url));
    agent.wait_for_log(&["given up", "404"]);
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

/// Another program with the same version, signed with the same key.
#[test]
fn another_program() {
    let mut other = Release::script("exit");
    let script = String::from_utf8(other.bytes).expect("it is a script");
    other.bytes = script.replace("vmkit-agent", "other-agent").into_bytes();
    refuse(&other, Download::Whole, &other, UNFIT, "other-agent");
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
    let server = Server::plain();
    let (_peer, agent, mut session) = installed();
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
    let server = Server::plain();
    let (_peer, _agent, mut session) = installed();
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Stalled);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(session.request(2, "agent_upgrade", params(&url, &next)).code(), BUSY);
    let snapshot = session.request(3, "metrics_collect", json!({}));
    assert!(snapshot.result().is_object());
}

#[test]
fn without_a_signature_where_a_key_is_set() {
    let server = Server::plain();
    // The key of minisign's own documentation: nothing here is signed with it.
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().installed().env("VMKIT_UPGRADE_PUBKEY", key));
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(response.code(), CHECKSUM_MISMATCH, "{}", response.message());
    assert!(response.message().contains("minisig"), "{}", response.message());
    assert!(fs::read(agent.path("vmkit-agent")).is_ok_and(|there| there != next.bytes));
    assert_clean(&agent, &next.version);
}

/// Whatever answers at an address of this machine, or nothing at all, the gateway hears the same
/// of it; also where a public server redirects there.
#[test]
fn a_gateway_does_not_learn_what_listens_on_this_machine() {
    let server = Server::plain();
    let (_peer, agent, mut session) = installed();
    let (page, next) = (Release::unfit("a secret page"), Release::next());
    let url = server.offer("agent", page.bytes.clone(), Download::Whole);
    let missing = url.replace("agent", "elsewhere");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let talks = silent.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        use std::io::Write;
        for mut socket in silent.incoming().flatten() {
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    let reasons = [
        ("http://127.0.0.1:1/agent".to_owned(), "refused"),
        ("https://127.0.0.1:1/agent".to_owned(), "refused"),
        ("https://127.1:1/agent".to_owned(), "refused"),
        (missing.clone(), "404"),
        (format!("https://{talks}/agent"), ""),
        (format!("http://{talks}/agent"), "not HTTP"),
    ];
    for (url, reason) in reasons {
        let response = session.request(1, "agent_upgrade", params(&url, &next));
        assert_eq!((response.code(), response.message()), (DOWNLOAD_FAILED, &*sealed(&url)));
        agent.wait_for_log(&["given up", &url, reason]);
    }
    let response = session.request(2, "agent_upgrade", params(&url, &next));
    assert_eq!(response.code(), CHECKSUM_MISMATCH);
    let message = response.message();
    assert!(message.contains(&next.sha256()) && !message.contains(&page.sha256()), "{message}");
    assert!(!agent.log().join("\n").contains(&page.sha256()));
}

#[test]
fn any_where_the_owner_has_turned_them_off() {
    let (server, next) = (Server::plain(), Release::next());
    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().installed().env("VMKIT_UPGRADES", "off"));
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    agent.wait_for_log(&["registered as"]);
    let before = agent.log().len();
    for request in [params(&url, &next), json!({}), json!("nonsense")] {
        let response = session.broken_request(1, "agent_upgrade", request);
        assert_eq!(response.code(), FORBIDDEN, "{}", response.message());
        assert!(response.message().contains("VMKIT_UPGRADES=off"), "{}", response.message());
    }
    session.ping(b"all is logged");
    let log = agent.log().split_off(before);
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log.iter().all(|line| line.contains("VMKIT_UPGRADES=off")), "{log:?}");
    assert_clean(&agent, &next.version);
    assert!(!agent.path("state/upgrade.json").exists(), "there is nothing to remember");
}
