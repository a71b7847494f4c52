//! `HTTPS_PROXY` and `NO_PROXY`: which dials go through the proxy, and what it is told.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Agent, Authority, PATIENCE, Peer, PrivateRoot, Setup, TOKEN};

const HOST: &str = "gateway.vmkit-test.example";

fn proxy_url(proxy: &Peer) -> String {
    format!("http://127.0.0.1:{}", proxy.port())
}

#[test]
fn the_tunnel_is_asked_for_by_name_and_the_token_goes_inside() {
    let authority = Authority::new();
    let identity = authority.for_names(&[HOST]);
    let proxy = Peer::plain();
    let url = format!("http://us%65r:p%40ss%3A1@127.0.0.1:{}/", proxy.port());
    // The name resolves nowhere: that is the proxy's work.
    let setup = Setup::url(format!("wss://{HOST}:8443/api/daemon")).trusting(&authority);
    let agent = setup.env("HTTPS_PROXY", url).start();

    let mut dial = proxy.accept();
    let connect = dial.read_upgrade();
    assert_eq!(connect.request_line, format!("CONNECT {HOST}:8443 HTTP/1.1"));
    assert_eq!(connect.header("Host"), Some(&*format!("{HOST}:8443")));
    let credentials = data_encoding::BASE64.encode(b"user:p@ss:1");
    assert_eq!(connect.header("Proxy-Authorization"), Some(&*format!("Basic {credentials}")));
    assert_eq!(connect.header("Authorization"), None);
    assert!(!format!("{connect:?}").contains(TOKEN));

    dial.respond("200 Connection established\nVia: 1.1 vmkit-test");
    let mut session = dial.start_tls(&identity).expect("a handshake").switch();
    assert_eq!(session.upgrade.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
    assert_eq!(session.upgrade.header("Proxy-Authorization"), None);
    assert_eq!(session.upgrade.header("Host"), Some(&*format!("{HOST}:8443")));
    session.read_register();
    session.acknowledge();
    session.assert_quiet();
    agent.wait_for_log(&["registered"]);
    let log = agent.log().join("\n");
    assert!(
        !log.contains("p@ss") && !log.contains("p%40ss") && !log.contains(&credentials),
        "{log}"
    );
}

#[test]
fn the_default_port_is_named_and_no_credentials_are_no_header() {
    let proxy = Peer::plain();
    let setup = Setup::url(format!("wss://{HOST}/")).env("https_proxy", proxy_url(&proxy));
    let _agent = setup.start();
    let connect = proxy.accept().read_upgrade();
    assert_eq!(connect.request_line, format!("CONNECT {HOST}:443 HTTP/1.1"));
    assert_eq!(connect.header("Proxy-Authorization"), None);
}

/// Whether the agent, told this, dials the gateway through the proxy.
fn goes_through_the_proxy(host: &str, no_proxy: &str) -> bool {
    let proxy = Peer::plain();
    let gateway = Peer::plain();
    let setup = Setup::url(format!("wss://{host}:{}/", gateway.port()));
    let setup = setup.env("HTTPS_PROXY", proxy_url(&proxy)).env("NO_PROXY", no_proxy);
    let hosts = format!("127.0.0.1 {HOST} localhost\n");
    let _agent = setup.in_private_root(|root| root.write("etc/hosts", &hosts)).start();
    let deadline = Instant::now() + PATIENCE;
    let look = Duration::from_millis(5);
    loop {
        if proxy.accept_within(look).is_some() {
            return true;
        }
        if gateway.accept_within(look).is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "{host}, {no_proxy}: neither was dialed");
    }
}

#[test]
fn no_proxy_says_what_is_dialed_directly() {
    for (host, no_proxy) in [
        (HOST, HOST),
        (HOST, "vmkit-test.example"),
        (HOST, ".vmkit-test.example"),
        (HOST, "*"),
        (HOST, "other.example, gateway.vmkit-test.example"),
        (HOST, "GATEWAY.VMKIT-TEST.EXAMPLE"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost,127.0.0.1"),
        ("localhost", "localhost"),
    ] {
        assert!(!goes_through_the_proxy(host, no_proxy), "{host} is in {no_proxy}");
    }
}

#[test]
fn what_no_proxy_does_not_say_goes_through_the_proxy() {
    for (host, no_proxy) in [
        (HOST, ""),
        (HOST, "test.example"),
        (HOST, "gateway"),
        (HOST, "other.example"),
        // Loopback is nothing special.
        ("127.0.0.1", ""),
        ("localhost", ""),
        ("127.0.0.1", "localhost"),
    ] {
        assert!(goes_through_the_proxy(host, no_proxy), "{host} is not in {no_proxy}");
    }
}

/// A proxy would see the token, and so would everybody on the way to it.
#[test]
fn without_tls_no_proxy_is_asked() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let (proxy, peer) = (Peer::plain(), Peer::plain());
        for host in ["127.0.0.1", "localhost"] {
            let setup = Setup::url(peer.url_for(host)).env(name, proxy_url(&proxy));
            let _agent = setup.start();
            peer.accept_registered().assert_quiet();
        }
        assert!(proxy.accept_within(Duration::ZERO).is_none(), "{name}");
    }
}

/// The agent does not dial a name by itself that the proxy would have looked up.
#[test]
fn without_tls_the_name_is_looked_up_here() {
    let proxy = Peer::plain();
    let setup = Setup::url("ws://localhost:9/").env("HTTPS_PROXY", proxy_url(&proxy));
    let hosts = |root: &PrivateRoot| root.write("etc/hosts", "192.0.2.1 localhost\n");
    let agent = setup.in_private_root(hosts).start();
    agent.wait_for_log(&["no loopback address", "VMKIT_GATEWAY_URL"]);
    assert!(proxy.accept_within(Duration::ZERO).is_none());
}

#[test]
fn a_refusing_proxy_is_named_without_its_credentials() {
    for (status, remedy) in [
        ("407 Proxy Authentication Required", "HTTPS_PROXY"),
        ("403 Forbidden", "access list"),
        ("502 Bad Gateway", "gateway.vmkit-test.example"),
    ] {
        let proxy = Peer::plain();
        let url = format!("http://vmkit-test-user:vmkit-test-pass@127.0.0.1:{}", proxy.port());
        let agent = Setup::url(format!("wss://{HOST}/")).env("HTTPS_PROXY", url).start();
        proxy.accept().refuse(status);
        let line = agent.wait_for_log(&[&status[..3], remedy]);
        // The gateway never saw the token, so it is not what to look at.
        assert!(!line.contains("VMKIT_AGENT_TOKEN"), "{line}");
        let log = agent.log().join("\n");
        assert!(!log.contains("vmkit-test-pass"), "{log}");
        assert!(proxy.accept_within(PATIENCE).is_some(), "it tries again");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let port = Peer::plain().port();
    let setup = Setup::url(format!("wss://{HOST}/"));
    let agent = setup.env("HTTPS_PROXY", format!("http://u:hush@127.0.0.1:{port}")).start();
    let line = agent.wait_for_log(&["HTTPS_PROXY", &format!("127.0.0.1:{port}")]);
    assert!(!line.contains("hush"), "{line}");
}

#[test]
fn a_silent_proxy_does_not_hold_up_the_exit() {
    let proxy = Peer::plain();
    let setup = Setup::url(format!("wss://{HOST}/")).env("HTTPS_PROXY", proxy_url(&proxy));
    let mut agent = setup.start();
    let mut dial = proxy.accept();
    dial.read_upgrade();
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn an_empty_proxy_is_none() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).env("HTTPS_PROXY", "").env("NO_PROXY", "").start();
    peer.accept_registered().assert_quiet();
}
