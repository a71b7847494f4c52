//! SIGKILL at any instant of an upgrade leaves the old or the new binary, whole, and the next start
//! puts things in order.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Agent, Download, PATIENCE, Peer, Release, Server, poll_until};
use crate::upgrade::{assert_clean, installed, params, register_of};

/// In all, each in every one of the tests below.
const POINTS: u32 = 60;
const TESTS: u32 = 4;

#[test]
fn at_points_0() {
    sweep(0);
}

#[test]
fn at_points_1() {
    sweep(1);
}

#[test]
fn at_points_2() {
    sweep(2);
}

#[test]
fn at_points_3() {
    sweep(3);
}

fn sweep(offset: u32) {
    let whole = undisturbed();
    for point in (offset..POINTS).step_by(TESTS as usize) {
        // A little beyond the end as well: into the new version's first moments.
        kill_after(whole * point * 5 / 4 / POINTS);
    }
}

/// How long an upgrade takes from the request to the end of the session.
fn undisturbed() -> Duration {
    let server = Server::plain();
    let (_peer, _agent, mut session) = installed();
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let started = Instant::now();
    session.send_request(1, "agent_upgrade", params(&url, &next));
    session.expect_close();
    started.elapsed()
}

fn kill_after(delay: Duration) {
    let server = Server::plain();
    let (peer, mut agent, mut session) = installed();
    let path = agent.path("vmkit-agent");
    let old = fs::read(&path).expect("it is installed");
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    // What is swept is the moment of the kill.
    std::thread::sleep(delay);
    agent.signal(Signal::KILL);
    agent.wait_for_exit(PATIENCE);
    let there = fs::read(&path).expect("there is always one");
    assert!(there == old || there == next.bytes, "after {delay:?}");
    let said = Command::new(&path).arg("--version").output().expect("it runs");
    assert!(said.status.success(), "after {delay:?}: {said:?}");
    drop(session);
    agent.start_again();
    assert_recovers(&agent, &peer, &next, delay);
}

/// The agent registers, and in the end nothing of the upgrade is left.
fn assert_recovers(agent: &Agent, peer: &Peer, next: &Release, delay: Duration) {
    let (mut session, register) = register_of(peer);
    session.ping(b"it serves");
    poll_until(&format!("a verdict after {delay:?}"), PATIENCE, || {
        (!agent.path("state/upgrade.json").exists()).then_some(())
    });
    assert_clean(agent, &next.version);
    let there = fs::read(agent.path("vmkit-agent")).expect("there is always one");
    let new = register["version"] == *next.version;
    assert_eq!(there == next.bytes, new, "after {delay:?}: {register}");
}
