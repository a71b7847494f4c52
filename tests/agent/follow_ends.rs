//! What ends a follow: the gateway's `logs_cancel`, docker, the session. Docker's processes are gone each
//! time.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::follow::{BY_PIPES, Printer, Tail, cancel};
use crate::support::{Agent, Call, PATIENCE, Setup, group_members, is_running, poll_until, texts};

const NO_SUCH_CONTAINER: i64 = -32001;
const DOCKER_UNUSABLE: i64 = -32002;
const INTERNAL_ERROR: i64 = -32603;
const INVALID_PARAMS: i64 = -32602;

/// A docker that goes on for ever: deaf to signals, with a child that holds its pipes.
const STAYS: &str = r#"
    trap '' TERM INT HUP
    sleep 300 &
    echo 2026-01-01T00:00:00Z hello
    sleep 300
"#;

#[track_caller]
fn assert_group_ended(call: &Call) {
    poll_until("the end of the process group", PATIENCE, || {
        group_members(call.pid).is_empty().then_some(())
    });
}

#[test]
fn a_cancelled_follow_says_so_itself_after_the_cancel() {
    let setup = Setup::new();
    let docker = setup.docker(STAYS);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let mut tail = Tail::ask(&mut session, 7, json!({"container": "web"}));
    tail.wait_for_lines(&mut session, 1);
    let call = docker.wait_for_calls("logs", 1).remove(0);
    poll_until("docker's child", PATIENCE, || (group_members(call.pid).len() == 3).then_some(()));
    session.send_request(8, "logs_cancel", json!({"id": 7}));
    let first = session.next_message();
    assert_eq!((&first["id"], &first["result"]), (&json!(8), &json!({"cancelled": true})));
    let second = session.next_message();
    let result = json!({"lines": [], "streamed": 1, "ended": "cancelled"});
    assert_eq!((&second["id"], &second["result"]), (&json!(7), &result));
    assert_group_ended(&call);
    // It is over: there is nothing to cancel, and the id is free.
    assert!(!cancel(&mut session, 9, 7));
    let mut tail = Tail::ask(&mut session, 7, json!({"container": "web"}));
    tail.wait_for_lines(&mut session, 1);
    assert!(cancel(&mut session, 10, 7));
    assert_eq!(tail.wait_for_end(&mut session), "cancelled");
    session.assert_quiet();
}

/// Ids are the same as JSON values: strings by their text, numbers by the bytes that were sent.
#[test]
fn ids_are_compared_as_values() {
    let setup = Setup::new();
    let _web = Printer::new(&setup, "web");
    setup.docker(BY_PIPES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let is_cancelled = |session: &mut crate::support::Session, of: &str| {
        let text = r#"{"jsonrpc":"2.0","id":"c","method":"logs_cancel","params":{"id":OF}}"#;
        session.send_text(text.replace("OF", of));
        let response = session.response_to("c", PATIENCE);
        response.result()["cancelled"] == true
    };
    for (own, same, others) in [
        ("7", &["7"][..], &["7.0", "\"7\"", "70e-1", "8", "-7"][..]),
        ("1e2", &["1e2"], &["100", "1E2", "100.0"]),
        (r#""a/b""#, &[r#""\u0061\/b""#, r#""a/b""#], &[r#""a\\/b""#, r#""A/b""#, r#""""#]),
        (r#""\u00e9""#, &["\"é\""], &["\"e\""]),
        ("123456789012345678901234567890", &["123456789012345678901234567890"], &["1"]),
    ] {
        for same in same {
            let request = r#"{"jsonrpc":"2.0","id":OWN,"method":"logs_fetch","params":
                {"container":"web","follow":true}}"#;
            session.send_text(request.replace("OWN", own));
            for other in others {
                assert!(!is_cancelled(&mut session, other), "{other} is not {own}");
            }
            assert!(is_cancelled(&mut session, same), "{same} is {own}");
            let text = session.next_text();
            assert!(text.contains(&format!("\"id\":{own},\"result\":")), "{text}");
        }
    }
    session.assert_quiet();
}

#[test]
fn a_cancel_of_nothing_and_a_wrong_cancel() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    assert!(!cancel(&mut session, 1, 7));
    assert!(!cancel(&mut session, 1, 1), "a cancel is no follow");
    session.notify("logs_cancel", json!({"id": 7}));
    for params in [
        json!({}),
        json!({"id": null}),
        json!({"id": true}),
        json!({"id": [7]}),
        json!({"id": {"id": 7}}),
        json!({"id": "x".repeat(20_000)}),
        json!([7]),
        json!(7),
        Value::Null,
    ] {
        let response = session.broken_request(2, "logs_cancel", params.clone());
        assert_eq!(response.code(), INVALID_PARAMS, "{params:.100}: {response:?}");
        assert!(!response.message().contains('\n'), "{response:?}");
    }
    session.assert_quiet();
}

/// It is carried out, and only the follow answers.
#[test]
fn a_cancel_without_an_id_is_not_answered() {
    let setup = Setup::new();
    let _web = Printer::new(&setup, "web");
    setup.docker(BY_PIPES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let mut tail = Tail::ask(&mut session, 7, json!({"container": "web"}));
    session.notify("logs_cancel", json!({"id": 7}));
    assert_eq!(tail.wait_for_end(&mut session), "cancelled");
    session.assert_quiet();
}

/// Docker ends with its container, and all that it printed comes before the result.
#[test]
fn the_end_of_docker_is_the_end_of_the_container() {
    let setup = Setup::new();
    setup.docker(
        r#"
        setsid sh -c 'echo $$ > "$0"; exec sleep 300' "$0.sleeper" &
        while ! [ -s "$0.sleeper" ]; do sleep 0.01; done
        sleep 300 &
        echo 2026-01-01T00:00:02Z last; echo 2026-01-01T00:00:01Z first >&2
        printf '2026-01-01T00:00:03Z without a newline'
    "#,
    );
    let sleeper = setup.file("bin/docker.sleeper", "");
    let (_peer, agent, mut session) = Agent::registered(setup);
    let began = Instant::now();
    let mut tail = Tail::ask(&mut session, 7, json!({"container": "web"}));
    assert_eq!(tail.wait_for_end(&mut session), "container");
    // Although a process that left the group holds the pipes.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(texts(&tail.lines), ["first", "last", "without a newline"]);
    agent.wait_for_log(&["logs_fetch: web: 3 lines streamed, ended: container, in"]);
    let sleeper = std::fs::read_to_string(sleeper).expect("the script wrote it");
    assert!(is_running(sleeper.trim().parse().expect("a process id")), "it left the group");
}

#[test]
fn a_docker_that_fails_has_its_error_after_its_lines() {
    let setup = Setup::new();
    for (name, stderr) in [
        ("missing", include_str!("../fixtures/docker/logs-no-such.stderr")),
        ("down", include_str!("../fixtures/docker/daemon-down.stderr")),
        ("cut", "unexpected EOF\n"),
    ] {
        setup.file(&format!("bin/{name}"), stderr);
    }
    setup.docker(
        r#"for container; do :; done
        [ $container != cut ] || echo "2026-01-01T00:00:00Z a line"
        cat "${0%/*}/$container" >&2; exit 1"#,
    );
    let (_peer, _agent, mut session) = Agent::registered(setup);
    for (container, code, lines) in [
        ("missing", NO_SUCH_CONTAINER, 0),
        ("down", DOCKER_UNUSABLE, 0),
        ("cut", INTERNAL_ERROR, 1),
    ] {
        let mut tail = Tail::ask(&mut session, 1, json!({"container": container}));
        tail.wait_for_lines(&mut session, lines);
        let response = session.response_to(1, PATIENCE);
        assert_eq!(response.code(), code, "{response:?}");
    }
}

#[test]
fn a_docker_that_is_not_there() {
    let setup = Setup::new().env("VMKIT_DOCKER_BIN", "/nonexistent/docker");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let params = json!({"container": "web", "follow": true});
    let response = session.request(1, "logs_fetch", params);
    assert_eq!(response.code(), DOCKER_UNUSABLE, "{response:?}");
}

#[test]
fn a_session_that_is_dropped_takes_docker_with_it() {
    let setup = Setup::new();
    let docker = setup.docker(STAYS);
    let (peer, mut agent, mut session) = Agent::registered(setup);
    for id in 0..8 {
        Tail::ask(&mut session, id, json!({"container": "web"}));
    }
    let calls = docker.wait_for_calls("logs", 8);
    drop(session);
    calls.iter().for_each(assert_group_ended);

    // A gateway that closes the session.
    let mut session = peer.accept_registered();
    assert!(!cancel(&mut session, 1, 0), "a follow ends with its session");
    let mut tail = Tail::ask(&mut session, 0, json!({"container": "web"}));
    tail.wait_for_lines(&mut session, 1);
    let call = docker.wait_for_calls("logs", 9).remove(8);
    session.send(&crate::support::Frame::close(1001));
    assert_group_ended(&call);

    // An agent that is told to stop.
    let mut session = peer.accept_registered();
    let mut tail = Tail::ask(&mut session, 0, json!({"container": "web"}));
    tail.wait_for_lines(&mut session, 1);
    let call = docker.wait_for_calls("logs", 10).remove(9);
    agent.assert_exits_on(Signal::TERM);
    assert_group_ended(&call);
}
