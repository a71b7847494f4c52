//! Upgrades that a server refuses, or answers wrongly: what the log says, and when the agent dials again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Agent, PATIENCE, Peer};

/// Answers one dial with this; the first line about it that holds `words`.
#[track_caller]
fn refused(response: &str, words: &[&str]) -> String {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept().refuse(response);
    let line = agent.wait_for_log(words);
    // The agent dials again.
    peer.accept_registered().assert_quiet();
    line
}

#[test]
fn refused_tokens_name_the_variable_and_the_file() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        refused(status, &[&status[..3], "VMKIT_AGENT_TOKEN", "/etc/vmkit/agent.env"]);
    }
}

#[test]
fn not_found_names_the_url() {
    refused("404 Not Found", &["404", "VMKIT_GATEWAY_URL"]);
}

#[test]
fn other_statuses_are_named() {
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "426 Upgrade Required", "299 Odd"]
    {
        refused(status, &[&status[..3]]);
    }
}

#[test]
fn captive_portal() {
    refused("200 OK\nContent-Type: text/html", &["200"]);
}

#[test]
fn redirects_are_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let elsewhere = Peer::plain();
        let location = format!("{status}\nLocation: {}?secret=hush", elsewhere.url());
        let line = refused(&location, &[&status[..3]]);
        assert!(!line.contains("hush"), "{line}");
        assert!(elsewhere.accept_within(Duration::ZERO).is_none(), "it went where it was sent");
    }
}

#[test]
fn upgrades_to_something_else_are_refused() {
    type Spoil = fn(String) -> String;
    let wrong: [(&str, Spoil); 5] = [
        ("accept", |head| head.replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: AAAA")),
        ("no accept", |head| head.replace("Sec-WebSocket-Accept", "X-Nothing")),
        ("upgrade", |head| head.replace("Upgrade: websocket", "Upgrade: h2c")),
        ("connection", |head| head.replace("Connection: Upgrade", "Connection: close")),
        // RFC 6455 §4.1: what was not asked for must not be taken.
        ("extension", |head| {
            head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        }),
    ];
    for (name, spoil) in wrong {
        let peer = Peer::plain();
        let agent = Agent::dialing(&peer).start();
        let mut dial = peer.accept();
        let before = agent.log().len();
        let answer = spoil(dial.read_upgrade().switching_protocols());
        dial.stream.write(answer.as_bytes()).expect("it waits");
        let next = dial.stream.fill(Instant::now() + PATIENCE);
        assert!(next.is_err(), "{name}: the agent went on");
        agent.wait_for_log_after(before, &["http"], PATIENCE);
        peer.accept_registered().assert_quiet();
    }
}

#[test]
fn what_is_no_http_is_refused() {
    let endless = format!("HTTP/1.1 101 Switching Protocols\r\nX-Long: {}", "x".repeat(2 << 20));
    let many = format!("HTTP/1.1 101 Switching Protocols\r\n{}", "X-More: x\r\n".repeat(200_000));
    for garbage in
        ["SSH-2.0-OpenSSH_9.2\r\n", "\r\n\r\n\r\n\r\n", "HTTP/9.9 abc\r\n\r\n", &endless, &many]
    {
        let peer = Peer::plain();
        let mut agent = Agent::dialing(&peer).start();
        let mut dial = peer.accept();
        dial.read_upgrade();
        let _ = dial.stream.write(garbage.as_bytes());
        dial.wait_for_end(PATIENCE).expect("the agent gives up");
        peer.accept_registered().assert_quiet();
        agent.assert_running();
    }
}

/// The reason is a stranger's text: one line, whatever it holds.
#[test]
fn a_status_line_cannot_forge_a_log_line() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept().refuse("500 Oops\x1b[2J\x07\rforged\nX-Reason: \x1b[31mred");
    peer.accept_registered().assert_quiet();
    let log = agent.log();
    assert!(log.iter().any(|line| line.contains("http")), "{log:?}");
    assert!(log.iter().all(|line| !line.contains(['\x1b', '\x07', '\r'])), "{log:?}");
}

#[test]
fn retry_after_is_a_lower_bound() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let peer = Peer::plain();
        let agent = Agent::dialing(&peer).start();
        peer.accept().refuse(&format!("{status}\nRetry-After: 3"));
        let refused = Instant::now();
        agent.wait_for_log(&[&status[..3]]);
        let again = peer.accept_tcp();
        let waited = again.at - refused;
        assert!(waited > Duration::from_millis(2_900), "{waited:?}");
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    }
}

#[test]
fn retry_after_counts_with_429_and_503_only_and_may_be_nonsense() {
    for response in [
        "500 Internal Server Error\nRetry-After: 200",
        "401 Unauthorized\nRetry-After: 200",
        "503 Service Unavailable\nRetry-After: soon",
        "503 Service Unavailable\nRetry-After: -5",
        "503 Service Unavailable\nRetry-After: 0",
        "503 Service Unavailable\nRetry-After:",
    ] {
        let peer = Peer::plain();
        let _agent = Agent::dialing(&peer).start();
        peer.accept().refuse(response);
        assert!(peer.accept_within(PATIENCE).is_some(), "{response}");
    }
}

#[test]
fn retry_after_of_years_is_survived() {
    for seconds in ["99999999999999999999999", "18446744073709551615", "9223372036854775807"] {
        let peer = Peer::plain();
        let mut agent = Agent::dialing(&peer).start();
        peer.accept().refuse(&format!("503 Service Unavailable\nRetry-After: {seconds}"));
        agent.wait_for_log(&["503"]);
        agent.assert_exits_on(Signal::TERM);
    }
}

#[test]
fn a_repeated_failure_is_logged_once() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    for _ in 0..4 {
        peer.accept().refuse("401 Unauthorized");
    }
    peer.accept_registered().assert_quiet();
    let log = agent.log();
    let about: Vec<_> = log.iter().filter(|line| line.contains("(401)")).collect();
    assert_eq!(about.len(), 1, "{log:#?}");
}

#[test]
fn another_failure_is_logged_beside_the_first() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept().refuse("401 Unauthorized");
    agent.wait_for_log(&["401"]);
    peer.accept().refuse("404 Not Found");
    agent.wait_for_log(&["404"]);
}

/// Answers an upgrade a byte at a time; how long the agent puts up with it.
fn patience_with_drips(pause: Duration) -> Duration {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let mut dial = peer.accept();
    dial.read_upgrade();
    dial.stream.drip(Some(pause));
    let head = format!("HTTP/1.1 101 Switching Protocols\r\nX-Long: {}\r\n\r\n", "x".repeat(1000));
    assert!(dial.stream.write(head.as_bytes()).is_err(), "the agent gives up");
    let took = dial.at.elapsed();
    agent.wait_for_log(&["http"]);
    took
}

#[test]
fn server_that_drips_http_is_given_up_within_20_s() {
    let took = patience_with_drips(Duration::from_millis(400));
    assert!(took > Duration::from_secs(15) && took < Duration::from_secs(22), "{took:?}");
    // Faster drips may look like an attack sooner.
    let took = patience_with_drips(Duration::from_millis(50));
    assert!(took < Duration::from_secs(22), "{took:?}");
}
