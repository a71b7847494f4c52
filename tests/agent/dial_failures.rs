//! Dials that fail before HTTP: each is one line that names the phase, the culprit and what to do.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Agent, Authority, PATIENCE, Peer, Setup, Unresponsive, name_server};

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
fn localhost_is_found_however_it_is_written() {
    let peer = Peer::plain();
    let setup = Setup::url(peer.url_for("LOCALHOST"));
    let _agent =
        setup.in_private_root(|root| root.write("etc/hosts", "127.0.0.1 localhost\n")).start();
    peer.accept_registered().assert_quiet();
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
