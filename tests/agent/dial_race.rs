//! A gateway with several addresses: they race, and an address that is dead costs a quarter of a second.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{Agent, PATIENCE, Peer, Setup, Unresponsive, poll_until};

const HOST: &str = "gateway.vmkit-test.example";

/// An agent whose gateway has these addresses, on this port.
fn dialing(addresses: &[String], port: u16) -> Setup {
    Setup::url(format!("wss://{HOST}:{port}/")).in_private_root(|root| {
        let lines = addresses.iter().map(|address| format!("{address} {HOST}\n"));
        root.write("etc/hosts", &lines.collect::<String>());
    })
}

/// How many TCP sockets the agent holds.
fn tcp_sockets(agent: &Agent) -> usize {
    let process = format!("/proc/{}", agent.pid());
    let tables = ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("{process}/net/{table}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines());
    let inodes: Vec<&str> = rows.filter_map(|row| row.split_whitespace().nth(9)).collect();
    let open = fs::read_dir(format!("{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| {
            let socket = target.to_str().and_then(|target| target.strip_prefix("socket:["));
            socket.is_some_and(|inode| inodes.contains(&inode.trim_end_matches(']')))
        })
        .count()
}

#[test]
fn a_dead_first_address_costs_a_quarter_of_a_second() {
    let peer = Peer::plain();
    let _silent = Unresponsive::at(&format!("[::1]:{}", peer.port()));
    let began = Instant::now();
    let agent = dialing(&["::1", "127.0.0.1"].map(String::from), peer.port()).start();
    let dial = peer.accept_tcp();
    let took = dial.at - began;
    assert!(took > Duration::from_millis(240) && took < Duration::from_secs(2), "{took:?}");
    poll_until("the end of the other socket", PATIENCE, || {
        (tcp_sockets(&agent) == 1).then_some(())
    });
}

#[test]
fn addresses_that_refuse_cost_nothing_beside_a_dead_one() {
    // The C library sorts by how much of an address is as in this machine's own, 127.0.0.1.
    let peer = Peer::on(TcpListener::bind("127.128.0.1:0").expect("a free port"));
    let _silent = Unresponsive::at(&format!("127.0.1.1:{}", peer.port()));
    let mut addresses: Vec<_> = (1..=20).map(|last| format!("127.0.1.{last}")).collect();
    addresses.push("127.128.0.1".to_owned());
    let began = Instant::now();
    let _agent = dialing(&addresses, peer.port()).start();
    let took = peer.accept_tcp().at - began;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn at_most_eight_are_under_way_and_each_is_named() {
    // On every address of loopback.
    let silent = Unresponsive::at("0.0.0.0:0");
    let addresses: Vec<_> = (1..=12).map(|last| format!("127.0.1.{last}")).collect();
    let mut agent = dialing(&addresses, silent.address.port()).start();
    let mut most = 0;
    // The second dial shows that the first has left no socket behind.
    let failed = |agent: &Agent| agent.log().into_iter().find(|line| line.contains("next try"));
    let line = poll_until("a dial that fails", PATIENCE, || {
        most = most.max(tcp_sockets(&agent));
        failed(&agent)
    });
    for address in addresses {
        assert!(line.contains(&format!("{address}:")), "{address}: {line}");
    }
    assert_eq!(line.matches("did not answer within 3 s").count(), 12, "{line}");
    poll_until("the next dial", PATIENCE, || (tcp_sockets(&agent) == 8).then_some(()));
    assert_eq!(most, 8);
    agent.assert_exits_on(Signal::TERM);
}
