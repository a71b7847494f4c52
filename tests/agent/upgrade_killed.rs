//! SIGKILL at any instant of an upgrade leaves the old or the new binary, whole, and the next start
//! puts things in order.

use std::fs;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{
    Agent, Download, Moment, PATIENCE, Peer, Release, Server, Share, Took, poll_until,
};
use crate::upgrade::{assert_clean, installed, params, register_of};

/// In all, each in every one of the tests below.
const POINTS: u32 = 60;
const TESTS: u32 = 4;
/// The log's word at the end of a download.
const DOWNLOADED: &str = "verified";

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

fn sweep(worker: u32) {
    let share = Share { points: POINTS, worker, workers: TESTS };
    share.sweep(|_| undisturbed(), kill);
}

fn undisturbed() -> Took {
    let server = Server::plain();
    let (peer, agent, mut session) = installed();
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let asked = Instant::now();
    session.send_request(1, "agent_upgrade", params(&url, &next));
    agent.wait_for_log(&[DOWNLOADED]);
    let downloaded = Instant::now();
    register_of(&peer);
    Took { all: asked.elapsed(), rest: downloaded.elapsed() }
}

fn kill(moment: Moment) {
    let server = Server::plain();
    let (peer, mut agent, mut session) = installed();
    let path = agent.path("vmkit-agent");
    let old = fs::read(&path).expect("it is installed");
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    session.send_request(1, "agent_upgrade", params(&url, &next));
    if moment.downloaded {
        agent.wait_for_log(&[DOWNLOADED]);
    }
    // The time of the kill is the subject of the test.
    std::thread::sleep(moment.delay);
    agent.signal(Signal::KILL);
    agent.wait_for_exit(PATIENCE);
    let there = fs::read(&path).expect("there is always one");
    assert!(there == old || there == next.bytes, "{moment:?}");
    let said = Command::new(&path).arg("--version").output().expect("it runs");
    assert!(said.status.success(), "{moment:?}: {said:?}");
    drop(session);
    agent.start_again();
    assert_recovers(&agent, &peer, &next, moment);
}

/// The agent registers, and in the end nothing of the upgrade is left.
fn assert_recovers(agent: &Agent, peer: &Peer, next: &Release, moment: Moment) {
    let (mut session, register) = register_of(peer);
    session.ping(b"it serves");
    poll_until(&format!("a verdict, {moment:?}"), PATIENCE, || {
        (!agent.path("state/upgrade.json").exists()).then_some(())
    });
    assert_clean(agent, &next.version);
    let there = fs::read(agent.path("vmkit-agent")).expect("there is always one");
    let new = register["version"] == *next.version;
    assert_eq!(there == next.bytes, new, "{moment:?}: {register}");
}
