//! Requests in flight: at most 32, none held up by another, none outliving its session.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Agent, Call, PATIENCE, Session, Setup, is_running, poll_until};

const BUSY: i64 = -32004;

/// A docker that waits for its `release` file, with a child that holds its pipes.
const WAITS: &str = r#"
    [ "$1" = logs ] || exit 0
    for container; do :; done
    sleep 300 &
    echo "$!" >> "$0.children"
    while [ ! -e "$0.release.$container" ]; do sleep 0.02; done
    kill "$!"
"#;

fn fill(session: &mut Session, count: u32) {
    for id in 0..count {
        session.send_request(id, "logs_fetch", json!({"container": format!("c{id}")}));
    }
}

#[track_caller]
fn assert_ended(calls: &[Call], children: &str) {
    let children = std::fs::read_to_string(children).expect("the script wrote it");
    let children = children.lines().map(|pid| pid.parse().expect("a process id"));
    for pid in calls.iter().map(|call| call.pid).chain(children) {
        poll_until("the end of docker's process group", PATIENCE, || {
            (!is_running(pid)).then_some(())
        });
    }
}

#[test]
fn thirty_two_are_served_and_one_more_is_refused() {
    let setup = Setup::new();
    let docker = setup.docker(WAITS);
    let release = setup.file("bin/docker.draft", "");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    fill(&mut session, 32);
    docker.wait_for_calls("logs", 32);

    let refused = session.request(32, "logs_fetch", json!({"container": "c32"}));
    assert_eq!(refused.code(), BUSY, "{refused:?}");
    assert_eq!(session.request(33, "metrics_collect", json!({})).code(), BUSY);
    assert_eq!(docker.calls().len(), 32);
    let mut pongs: Vec<Duration> = (0..11).map(|_| session.ping(b"busy?")).collect();
    pongs.sort();
    assert!(pongs[5] < Duration::from_millis(40), "{pongs:?}");

    // A request that ends makes room for another.
    let release = release.replace(".draft", ".release.c7");
    std::fs::write(&release, "").expect("the test's own directory");
    assert_eq!(session.response_to(7, PATIENCE).code(), 0);
    session.send_request(34, "logs_fetch", json!({"container": "c34"}));
    docker.wait_for_calls("logs", 33);
    assert_eq!(session.request(35, "logs_fetch", json!({"container": "c35"})).code(), BUSY);
}

#[test]
fn a_slow_request_delays_no_other() {
    let setup = Setup::new();
    let docker = setup.docker(WAITS);
    let release = setup.file("bin/docker.release.c1", "").replace(".c1", ".c0");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    fill(&mut session, 1);
    docker.wait_for_calls("logs", 1);
    let metrics = session.request("m", "metrics_collect", json!({}));
    assert_eq!(metrics.code(), 0);
    session.next_notification("health_snapshot");
    session.assert_quiet();
    let fast = session.request("l", "logs_fetch", json!({"container": "c1"}));
    assert_eq!(fast.code(), 0);
    std::fs::write(release, "").expect("the test's own directory");
    assert_eq!(session.response_to(0, PATIENCE).code(), 0);
}

#[test]
fn work_ends_with_its_session() {
    let setup = Setup::new();
    let docker = setup.docker(WAITS);
    let children = setup.file("bin/docker.children", "");
    let (peer, _agent, mut session) = Agent::registered(setup);
    fill(&mut session, 5);
    let calls = docker.wait_for_calls("logs", 5);
    poll_until("each call's child", PATIENCE, || {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        (children.lines().count() == 5).then_some(())
    });
    drop(session);
    assert_ended(&calls, &children);

    // The next session has all of its room, and none of the last one's answers.
    let mut next = peer.accept_registered();
    next.assert_quiet();
    fill(&mut next, 31);
    docker.wait_for_calls("logs", 5 + 31);
    next.assert_quiet();
}

#[test]
fn a_hung_docker_is_ended_with_its_group_after_30_s() {
    let setup = Setup::new();
    let docker = setup.docker(WAITS);
    let children = setup.file("bin/docker.children", "");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let began = Instant::now();
    fill(&mut session, 1);
    let calls = docker.wait_for_calls("logs", 1);
    session.assert_quiet();
    let response = session.response_to(0, Duration::from_secs(45));
    assert_eq!(response.code(), -32003, "{response:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(29) && took < Duration::from_secs(35), "{took:?}");
    assert_ended(&calls, &children);
    session.assert_quiet();
}
