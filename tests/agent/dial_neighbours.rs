//! The error pages of stock servers and proxies, byte for byte as these send them (`tests/fixtures/http`):
//! what the log says, and when the agent dials again.

use std::fs;

use crate::support::{Agent, Dial, PATIENCE, Peer, Setup};

/// Sends the page, and then closes or does not, as the server did that sent it.
fn send(mut dial: Dial, page: &str) {
    let path = format!("{}/tests/fixtures/http/{page}", env!("CARGO_MANIFEST_DIR"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    dial.read_upgrade();
    dial.stream.write(&bytes).expect("the agent waits for an answer");
    let head = String::from_utf8_lossy(&bytes);
    if head.contains("Connection: close\r\n") || !head.to_lowercase().contains("content-length: ") {
        return;
    }
    dial.wait_for_end(PATIENCE).expect("the agent does not wait for an end");
}

/// The seconds after which a line about a failure has the next dial.
#[track_caller]
fn delay(line: &str) -> f64 {
    let seconds = line.rsplit_once("next try in ").and_then(|(_, rest)| rest.strip_suffix(" s"));
    seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Answers the upgrade with this page. The agent says these words, and dials again after a first
/// failure's delay behind `retry_after` seconds.
#[track_caller]
fn upgrade_answered(page: &str, words: &str, retry_after: f64) {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    send(peer.accept(), page);
    let line = agent.wait_for_log(&["next try in"]);
    let said = format!("can't connect: http: {}: {words}; next try in ", peer.url());
    assert!(line.contains(&said), "{page}: {line}");
    let delay = delay(&line) - retry_after;
    assert!((0.0..=1.0).contains(&delay), "{page}: {line}");
    peer.accept_registered().assert_quiet();
}

#[test]
fn a_back_end_that_is_down_is_not_a_wrong_url() {
    for (page, status) in
        [("haproxy-504", 504), ("nginx-502", 502), ("nginx-504", 504), ("apache-502", 502)]
    {
        let words =
            format!("the gateway is away: a proxy before it can't reach it ({status}); retrying");
        upgrade_answered(page, &words, 0.0);
    }
    for page in ["haproxy-503", "haproxy-503-file", "apache-503"] {
        upgrade_answered(page, "the gateway is overloaded or restarting (503); retrying", 0.0);
    }
    let words = "the gateway is overloaded or restarting (503); retrying, in 3 s at the earliest";
    upgrade_answered("nginx-503", words, 3.0);
}

#[test]
fn a_server_that_has_another_answer_than_the_gateway_names_what_to_check() {
    upgrade_answered(
        "apache-403",
        "the gateway refuses the token (403); check VMKIT_AGENT_TOKEN in /etc/vmkit/agent.env, and \
         that the token belongs to this gateway",
        0.0,
    );
    upgrade_answered(
        "apache-404",
        "the gateway has no such endpoint (404); check the path in VMKIT_GATEWAY_URL",
        0.0,
    );
}

#[test]
fn a_url_that_is_a_proxys_is_to_be_checked() {
    for (page, status) in [("tinyproxy-upgrade", 500), ("squid-upgrade", 400)] {
        let words = format!("the gateway answered {status}; check VMKIT_GATEWAY_URL");
        upgrade_answered(page, &words, 0.0);
    }
}

#[test]
fn a_proxy_that_makes_no_tunnel_is_named_and_the_gateway_is_not() {
    const TARGET: &str = "gateway.vmkit-test.example:8443";
    let forbidden = format!(
        "forbids the connection to {TARGET} (403); its access list must allow {TARGET} and this machine"
    );
    let away = |status: u16| {
        format!("could not connect to {TARGET} ({status}); check that address, and the proxy's log")
    };
    let credentials =
        "requires a user name and password, or rejects those given (407); check HTTPS_PROXY";
    for (page, words) in [
        ("tinyproxy-403", &*forbidden),
        ("tinyproxy-403-port", &forbidden),
        ("squid-403", &forbidden),
        ("tinyproxy-407", credentials),
        ("tinyproxy-500", &away(500)),
        ("squid-503", &away(503)),
    ] {
        let proxy = Peer::plain();
        let port = proxy.port();
        let setup = Setup::url(format!("wss://{TARGET}/api/daemon"));
        let agent = setup.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}")).start();
        send(proxy.accept(), page);
        let line = agent.wait_for_log(&["next try in"]);
        let words =
            format!("can't connect: proxy: 127.0.0.1:{port}: the proxy {words}; next try in ");
        assert!(line.contains(&words), "{page}: {line}");
        assert!(delay(&line) <= 1.0, "{page}: {line}");
        assert!(proxy.accept_within(PATIENCE).is_some(), "{page}: it tries again");
    }
}
