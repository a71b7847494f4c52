//! `logs_fetch` with `"follow": true` of real containers: what docker does when they print, end, restart or
//! are removed.

use std::time::{Duration, Instant};

use serde_json::json;

use super::follow::{Tail, cancel};
use crate::support::{
    Agent, Container, PATIENCE, Session, Setup, assert_same_lines, docker, group_members,
    poll_until, texts,
};

const NO_SUCH_CONTAINER: i64 = -32001;
const DOCKER_UNUSABLE: i64 = -32002;

#[track_caller]
fn follow(session: &mut Session, id: u32, container: &Container) -> Tail {
    Tail::ask(session, id, json!({"container": container.name, "lines": 5}))
}

#[track_caller]
fn say(container: &Container, text: &str) {
    let script = format!("echo '{text}' > /proc/1/fd/1");
    docker(&["exec", &container.name, "sh", "-c", &script]);
}

/// How long it takes until the follow has ended with its container.
#[track_caller]
fn assert_ends(session: &mut Session, tail: &mut Tail, by: &[&str]) {
    docker(by);
    let done = Instant::now();
    assert_eq!(tail.wait_for_end(session), "container", "by {by:?}");
    assert!(done.elapsed() < Duration::from_secs(5), "by {by:?}: {:?}", done.elapsed());
}

#[test]
fn new_lines_come_as_the_container_writes_them() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let script = "echo out; sleep 0.1; echo err >&2; exec sleep 300";
    for options in [&[][..], &["--tty"], &["--log-driver", "local"]] {
        let container = Container::running(options, script);
        poll_until("both lines", PATIENCE, || (container.logs(5).len() == 2).then_some(()));
        let mut tail = follow(&mut session, 1, &container);
        tail.wait_for_lines(&mut session, 2);
        for number in 0..3 {
            say(&container, &format!("line {number}"));
            let said = Instant::now();
            tail.wait_for_lines(&mut session, 3 + number);
            assert!(said.elapsed() < Duration::from_secs(2), "{:?}", said.elapsed());
        }
        assert_same_lines(&tail.lines, &container.logs(5));
        assert!(cancel(&mut session, 2, 1));
        assert_eq!(tail.wait_for_end(&mut session), "cancelled");
    }
}

#[test]
fn it_ends_with_its_container_however_that_ends() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::running(&[], "echo first; exec sleep 300");
    let name = &*container.name;
    for (id, by) in [
        // Not `stop`: the first process of a container is deaf to SIGTERM, for ten seconds.
        &["restart", "--time", "0", name][..],
        &["kill", name],
        &["start", name],
        &["stop", "--time", "0", name],
        &["start", name],
        &["rm", "--force", name],
    ]
    .into_iter()
    .enumerate()
    {
        if by[0] == "start" {
            docker(by);
            continue;
        }
        let mut tail = follow(&mut session, id as u32, &container);
        tail.wait_for_lines(&mut session, 1);
        assert_ends(&mut session, &mut tail, by);
    }
    let response = session.request(9, "logs_fetch", json!({"container": name, "follow": true}));
    assert_eq!(response.code(), NO_SUCH_CONTAINER, "{response:?}");
    session.assert_quiet();
}

#[test]
fn a_container_that_ends_by_itself_sends_its_last_line() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    // Docker itself often loses the last line of a container that it follows if that line has no newline
    // or is younger than a moment.
    let script = "echo first; sleep 1; seq 2000; echo last; sleep 0.5";
    let ending = Container::running(&[], script);
    let params = json!({"container": ending.name, "lines": 5000});
    let mut tail = Tail::ask(&mut session, 1, params);
    assert_eq!(tail.wait_for_end(&mut session), "container");
    assert_same_lines(&tail.lines, &ending.logs(5000));
    assert_eq!(tail.lines.len(), 2002);

    // A container that has ended has its tail and its end.
    let mut tail = follow(&mut session, 2, &ending);
    assert_eq!(tail.wait_for_end(&mut session), "container");
    assert_same_lines(&tail.lines, &ending.logs(5));
}

#[test]
fn since_leaves_out_what_is_older() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::running(&[], "echo old; exec sleep 300");
    poll_until("its line", PATIENCE, || (container.logs(1).len() == 1).then_some(()));
    say(&container, "new");
    poll_until("both", PATIENCE, || (container.logs(5).len() == 2).then_some(()));
    let lines = container.logs(5);
    let params = json!({"container": container.name, "since": lines[1].ts});
    let mut tail = Tail::ask(&mut session, 1, params);
    tail.wait_for_lines(&mut session, 1);
    say(&container, "newer");
    tail.wait_for_lines(&mut session, 2);
    assert_eq!(texts(&tail.lines), ["new", "newer"]);
}

/// A line of more than 16 KiB without its end is shown in a moment: `local` of engine 20.10 forgets its
/// newline, and would show it only with the next line.
#[test]
fn long_lines_are_not_held_back() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for options in [&[][..], &["--log-driver", "local"]] {
        let container = Container::running(options, "echo first; exec sleep 300");
        let mut tail = follow(&mut session, 1, &container);
        tail.wait_for_lines(&mut session, 1);
        let script = "head -c 40000 /dev/zero | tr '\\0' x > /proc/1/fd/1; echo > /proc/1/fd/1";
        docker(&["exec", &container.name, "sh", "-c", script]);
        let printed = Instant::now();
        let shown = |tail: &Tail| tail.lines[1..].iter().map(|line| line.text.len()).sum::<usize>();
        while shown(&tail) < 40_000 {
            let count = tail.lines.len();
            tail.wait_for_lines(&mut session, count + 1);
        }
        assert!(printed.elapsed() < Duration::from_secs(2), "{:?}", printed.elapsed());
        assert!(cancel(&mut session, 2, 1));
        assert_eq!(tail.wait_for_end(&mut session), "cancelled");
    }
}

#[test]
fn a_container_that_never_stops_printing_is_cancelled_and_docker_is_gone() {
    let setup = Setup::new();
    let calls = setup.docker("exec /usr/bin/env docker-of-the-machine \"$@\"");
    let real = std::env::var("PATH").expect("cargo has one");
    let real = std::env::split_paths(&real).map(|folder| folder.join("docker"));
    let real = { real }.find(|file| file.is_file()).expect("docker is installed");
    setup.program("docker-of-the-machine", &format!("exec '{}' \"$@\"", real.display()));
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let options = ["--log-opt", "max-size=10m", "--log-opt", "max-file=2", "--cpus", "0.3"];
    let script = "while :; do echo 'there is always something to say'; done";
    let container = Container::running(&options, script);
    let mut tail = follow(&mut session, 1, &container);
    tail.wait_for_lines(&mut session, 20_000);
    assert!(tail.lines.is_sorted_by(|one, next| one.ts <= next.ts));
    let call = calls.wait_for_calls("logs", 1).remove(0);
    assert!(!group_members(call.pid).is_empty());
    session.send_request(2, "logs_cancel", json!({"id": 1}));
    while tail.result.is_none() {
        let message = session.next_message();
        assert!(tail.take(&message) || message["id"] == 2, "{message:.300}");
    }
    assert_eq!(tail.result.as_ref().expect("it has ended")["ended"], "cancelled");
    poll_until("docker's end", PATIENCE, || group_members(call.pid).is_empty().then_some(()));
}

#[test]
fn a_log_driver_that_cannot_be_read() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::running(&["--log-driver", "none"], "exec sleep 300");
    let params = json!({"container": container.name, "follow": true});
    let response = session.request(1, "logs_fetch", params);
    assert_eq!(response.code(), DOCKER_UNUSABLE, "{response:?}");
}
