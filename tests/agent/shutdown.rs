//! SIGTERM and SIGINT end the agent within a second, with status 0, whatever it is doing.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Agent, Authority, Frame, LARGE_LOG, PATIENCE, Peer, Setup, Unresponsive, is_running,
    name_server, opcode, poll_until,
};

#[test]
fn signals_close_the_session_with_1001() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_peer, mut agent, mut session) = Agent::registered(Setup::new());
        session.assert_quiet();
        agent.signal(signal);
        assert_eq!(session.expect_close(), 1001);
        session.send(&Frame::close(1001));
        drop(session);
        let status = agent.wait_for_exit(Duration::from_secs(1));
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

/// A gateway that never answers the close does not hold up the exit.
#[test]
fn close_that_is_not_answered_is_no_obstacle() {
    let authority = Authority::new();
    let peer = Peer::tls(&authority.good());
    let mut agent = Agent::dialing(&peer).trusting(&authority).start();
    let mut session = peer.accept_registered();
    session.assert_quiet();
    agent.assert_exits_on(Signal::TERM);
    assert_eq!(session.expect_close(), 1001);
}

#[test]
fn while_register_is_not_acknowledged() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).start();
    let mut session = peer.accept_upgraded();
    session.read_register();
    agent.assert_exits_on(Signal::TERM);
    assert_eq!(session.expect_close(), 1001);
}

/// The agent waits a while for the gateway's side of a close that it began; not when it is to end.
#[test]
fn while_another_close_is_not_answered() {
    let (_peer, mut agent, mut session) = Agent::registered(Setup::new());
    session.send(&Frame::new(opcode::BINARY, "x"));
    assert_eq!(session.expect_close(), 1003);
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_docker_runs() {
    let setup = Setup::new();
    let docker = setup.docker("sleep 300 & wait");
    let (_peer, mut agent, mut session) = Agent::registered(setup);
    session.send_request(1, "logs_fetch", json!({"container": "web"}));
    session.send_request(2, "metrics_collect", json!({}));
    let calls = docker.wait_for_calls("", 2);
    agent.assert_exits_on(Signal::TERM);
    assert_eq!(session.expect_close(), 1001);
    for call in calls {
        poll_until("docker's end", PATIENCE, || (!is_running(call.pid)).then_some(()));
    }
}

/// The whole of a hostile peer: it takes nothing more, with a reply half sent.
#[test]
fn while_the_gateway_does_not_read() {
    let setup = Setup::new();
    let docker = setup.docker(LARGE_LOG);
    let (_peer, mut agent, mut session) = Agent::registered(setup);
    for id in 0..8 {
        session.send_request(id, "logs_fetch", json!({"container": "web"}));
    }
    docker.wait_for_calls("logs", 8);
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_names_are_resolved() {
    let (server, address) = name_server();
    server.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let setup = Setup::url("wss://gateway.vmkit-test.example/").in_private_root(|root| {
        let resolv = format!("nameserver {address}\noptions timeout:30 attempts:5\n");
        root.write("etc/resolv.conf", &resolv);
    });
    let mut agent = setup.start();
    server.recv(&mut [0; 512]).expect("a question");
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_tcp_connects() {
    const SYN_SENT: u8 = 2;
    let silent = Unresponsive::at("127.0.0.1:0");
    let mut agent = Setup::url(format!("ws://{}/", silent.address)).start();
    poll_until("a SYN", PATIENCE, || {
        let connections = agent.connections_to(silent.address.port());
        connections.iter().any(|connection| connection.state == SYN_SENT).then_some(())
    });
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_tls_is_agreed_on() {
    let peer = Peer::plain();
    let url = format!("wss://127.0.0.1:{}/", peer.port());
    let mut agent = Setup::url(url).start();
    let mut dial = peer.accept_tcp();
    dial.stream.fill(std::time::Instant::now() + PATIENCE).expect("a ClientHello");
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_the_upgrade_is_not_answered() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).start();
    let mut dial = peer.accept();
    dial.read_upgrade();
    agent.assert_exits_on(Signal::INT);
}

#[test]
fn while_half_of_the_upgrade_is_answered() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).start();
    let mut dial = peer.accept();
    dial.read_upgrade();
    dial.stream.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgr").expect("it waits");
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn while_it_waits_to_dial_again() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).start();
    peer.accept().refuse("503 Service Unavailable\nRetry-After: 120");
    agent.wait_for_log(&["503"]);
    agent.assert_exits_on(Signal::TERM);
}
