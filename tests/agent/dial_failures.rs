//! Dials that fail before HTTP: each is one line that names the phase, the culprit and what to do.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    Agent, Authority, Identity, PATIENCE, Peer, Setup, TOKEN, Unresponsive, name_server,
};

#[test]
fn name_that_does_not_exist() {
    const NXDOMAIN: u8 = 3;
    let (server, address) = name_server();
    server.set_read_timeout(Some(PATIENCE)).expect("not zero");
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut packet) {
            packet[2] |= 0x80;
            packet[3] = 0x80 | NXDOMAIN;
            let _ = server.send_to(&packet[..length], from);
        }
    });
    let setup = Setup::url("wss://nonexistent.invalid/").in_private_root(|root| {
        root.write("etc/resolv.conf", &format!("nameserver {address}\n"));
    });
    let agent = setup.start();
    let line = agent.wait_for_log(&["nonexistent.invalid", &address]);
    assert!(line.to_lowercase().contains("dns"), "{line}");
}

#[test]
fn name_server_that_never_answers() {
    let (_server, address) = name_server();
    let setup = Setup::url("wss://gateway.vmkit-test.example/").in_private_root(|root| {
        let resolv = format!("nameserver {address}\noptions timeout:30 attempts:5\n");
        root.write("etc/resolv.conf", &resolv);
    });
    let began = Instant::now();
    let agent = setup.start();
    let words = ["dns", "gateway.vmkit-test.example", &address];
    agent.wait_for_log_after(0, &words, Duration::from_secs(30));
    assert!(began.elapsed() < Duration::from_secs(22), "{:?}", began.elapsed());
}

#[test]
fn names_are_resolved_anew_at_every_dial() {
    let peer = Peer::plain();
    let url = format!("wss://gateway.vmkit-test.example:{}/", peer.port());
    let setup = Setup::url(url).in_private_root(|_| {});
    let agent = setup.start();
    agent.wait_for_log(&["gateway.vmkit-test.example"]);
    agent.root().write("etc/hosts", "127.0.0.1 gateway.vmkit-test.example\n");
    assert!(peer.accept_within(PATIENCE).is_some());
}

#[test]
fn every_address_is_tried() {
    let peer = Peer::plain();
    let url = format!("wss://gateway.vmkit-test.example:{}/", peer.port());
    let setup = Setup::url(url).in_private_root(|root| {
        root.write(
            "etc/hosts",
            "::1 gateway.vmkit-test.example\n127.0.0.9 gateway.vmkit-test.example\n\
             127.0.0.1 gateway.vmkit-test.example\n",
        );
    });
    let agent = setup.start();
    // The dial that arrives is the first that the log tells the failure of.
    drop(peer.accept_within(PATIENCE).expect("the agent dials"));
    let failure = agent.wait_for_log(&["next try in"]);
    assert!(!failure.contains("refused"), "they are one dial: {failure}");
}

#[test]
fn address_that_does_not_answer_is_named() {
    let silent = Unresponsive::at("127.0.0.1:0");
    let agent = Setup::url(format!("ws://{}/", silent.address)).start();
    agent.wait_for_log(&["tcp", &silent.address.to_string(), "outbound"]);
}

#[test]
fn refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let agent = Setup::url(format!("ws://{address}/")).start();
    let line = agent.wait_for_log(&[&address.to_string(), "outbound"]);
    assert!(line.to_lowercase().contains("refused"), "{line}");
}

#[test]
fn tls_server_that_hangs_up_or_speaks_http() {
    let peer = Peer::plain();
    let agent = Setup::url(format!("wss://127.0.0.1:{}/", peer.port())).start();
    drop(peer.accept_tcp());
    agent.wait_for_log(&["tls"]);
    let before = agent.log().len();
    let mut dial = peer.accept_tcp();
    dial.stream.fill(Instant::now() + PATIENCE).expect("a ClientHello");
    dial.respond("400 Bad Request");
    agent.wait_for_log_after(before, &["tls"], PATIENCE);
}

/// Dials a gateway with this identity; the line about it, and that no token went out.
fn rejected(authority: &Authority, identity: &Identity) -> String {
    let peer = Peer::tls(identity);
    let mut agent = Agent::dialing(&peer).trusting(authority).start();
    if let Ok(mut dial) = peer.accept_tcp().start_tls(identity) {
        // In TLS 1.3 the server is done before the client has judged it: but no request comes.
        assert!(dial.stream.peek(1, Instant::now() + PATIENCE).is_err());
    }
    let line = agent.wait_for_log(&["tls"]);
    assert!(!line.contains(TOKEN), "{line}");
    agent.assert_exits_on(Signal::TERM);
    line.to_lowercase()
}

#[test]
fn certificate_of_an_unknown_issuer() {
    let line = rejected(&Authority::new(), &Authority::new().good());
    assert!(line.contains("not trusted") && line.contains("vmkit_ca_file"), "{line}");
}

#[test]
fn certificate_for_another_name() {
    let authority = Authority::new();
    let line = rejected(&authority, &authority.for_names(&["elsewhere.vmkit-test.example"]));
    assert!(line.contains("name") && line.contains("127.0.0.1"), "{line}");
}

/// Today as this machine has it, `2026-01-31`, for the tests about dates.
fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    String::from_utf8(output.expect("coreutils are there").stdout)
        .expect("digits")
        .trim()
        .to_owned()
}

#[test]
fn certificate_that_has_expired_is_shown_beside_this_machines_clock() {
    let authority = Authority::new();
    let today = today();
    let line = rejected(&authority, &authority.issue(&["127.0.0.1"], 2015, 2020));
    assert!(line.contains("expired") && line.contains("clock"), "{line}");
    assert!(line.contains("2020-01-01") && line.contains(&today), "{line}");
}

#[test]
fn certificate_that_is_not_valid_yet_is_shown_beside_this_machines_clock() {
    let authority = Authority::new();
    let today = today();
    let line = rejected(&authority, &authority.issue(&["127.0.0.1"], 2090, 2099));
    assert!(line.contains("not yet valid") || line.contains("not valid yet"), "{line}");
    assert!(line.contains("clock"), "{line}");
    assert!(line.contains("2090-01-01") && line.contains(&today), "{line}");
}

#[test]
fn server_that_drips_tls_is_given_up_within_20_s() {
    let authority = Authority::new();
    let peer = Peer::tls(&authority.good());
    let agent = Agent::dialing(&peer).trusting(&authority).start();
    let mut dial = peer.accept_tcp();
    let began = dial.at;
    dial.stream.drip(Some(Duration::from_millis(50)));
    assert!(dial.start_tls(&authority.good()).is_err(), "a handshake in time after all");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(15) && took < Duration::from_secs(22), "{took:?}");
    agent.wait_for_log(&["tls"]);
}

#[test]
fn server_that_says_nothing_is_given_up_within_20_s() {
    let peer = Peer::plain();
    let agent = Setup::url(format!("wss://127.0.0.1:{}/", peer.port())).start();
    let mut dial = peer.accept_tcp();
    dial.wait_for_end(Duration::from_secs(25)).expect("the agent gives up");
    let took = dial.at.elapsed();
    assert!(took > Duration::from_secs(15) && took < Duration::from_secs(22), "{took:?}");
    agent.wait_for_log(&["tls"]);
}
