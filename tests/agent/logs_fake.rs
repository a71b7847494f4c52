//! `logs_fetch` of a docker that prints what a test wants: order, odd pieces, what is left behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Agent, Fake, LogLine, PATIENCE, Session, Setup, TOKEN, is_running, poll_until, texts,
};

/// The output of a fake docker, in files beside it.
const STDOUT: &str = "bin/docker.stdout";
const STDERR: &str = "bin/docker.stderr";

fn with_docker(body: &str, stdout: &str, stderr: &str) -> (Agent, Session, Fake) {
    let setup = Setup::new();
    setup.file(STDOUT, stdout);
    setup.file(STDERR, stderr);
    let docker = setup.docker(body);
    let (_peer, agent, session) = Agent::registered(setup);
    (agent, session, docker)
}

#[track_caller]
fn fetch(session: &mut Session) -> Vec<LogLine> {
    let response = session.request(1, "logs_fetch", json!({"container": "web"}));
    let result = response.result();
    assert_eq!(result.get("truncated"), None);
    LogLine::all_of(result)
}

/// Docker's line with this text, written that many seconds after midnight.
fn line(second: u32, text: &str) -> String {
    format!("2026-01-01T00:{:02}:{:02}.000000001Z {text}\n", second / 60, second % 60)
}

#[test]
fn lines_are_in_order_however_docker_wrote_them() {
    let stdout: String = [1, 4, 5, 9].map(|n| line(n, &n.to_string())).concat();
    let stderr: String = [2, 3, 6, 7, 8].map(|n| line(n, &n.to_string())).concat();
    for body in [
        r#"cat "$0.stdout"; cat "$0.stderr" >&2"#,
        r#"cat "$0.stderr" >&2; cat "$0.stdout""#,
        r#"cat "$0.stdout"; sleep 0.2; cat "$0.stderr" >&2"#,
        r#"cat "$0.stderr" >&2; sleep 0.2; cat "$0.stdout""#,
        r#"cat "$0.stdout" & cat "$0.stderr" >&2; wait"#,
        r#"head -n 1 "$0.stderr" >&2; head -n 3 "$0.stdout"; sleep 0.1
           tail -n +2 "$0.stderr" >&2; sleep 0.1; tail -n 1 "$0.stdout""#,
    ] {
        let (_agent, mut session, _docker) = with_docker(body, &stdout, &stderr);
        let lines = fetch(&mut session);
        assert_eq!(texts(&lines), ["1", "2", "3", "4", "5", "6", "7", "8", "9"], "{body}");
        assert_eq!(lines[8].ts, "2026-01-01T00:00:09.000000001Z");
    }
}

#[test]
fn of_the_same_time_standard_output_is_first() {
    let stdout = [line(1, "o1"), line(1, "o2"), line(2, "o3")].concat();
    let stderr = [line(1, "e1"), line(1, "e2"), line(2, "e3")].concat();
    for body in [
        r#"cat "$0.stdout"; sleep 0.1; cat "$0.stderr" >&2"#,
        r#"cat "$0.stderr" >&2; sleep 0.1; cat "$0.stdout""#,
    ] {
        let (_agent, mut session, _docker) = with_docker(body, &stdout, &stderr);
        assert_eq!(texts(&fetch(&mut session)), ["o1", "o2", "e1", "e2", "o3", "e3"], "{body}");
    }
}

/// podman stamps in local time, and not always with nine digits.
#[test]
fn times_are_compared_not_their_texts() {
    let stdout = "2026-01-01T02:00:00+02:00 first\n2026-01-01T02:00:00.5+02:00 third\n";
    let stderr = "2026-01-01T00:00:00.25Z second\n2025-12-31T19:00:01-05:00 last\n";
    let body = r#"cat "$0.stderr" >&2; cat "$0.stdout""#;
    let (_agent, mut session, _docker) = with_docker(body, stdout, stderr);
    let lines = fetch(&mut session);
    assert_eq!(texts(&lines), ["first", "second", "third", "last"]);
    assert_eq!(lines[0].ts, "2026-01-01T02:00:00+02:00");
}

/// Docker's words before the first line are its own; later words may be the container's.
#[test]
fn lines_without_a_time() {
    let stderr = format!("WARNING: of docker's own\n{}no time\n", line(2, "err"));
    let stdout = format!("neither this\n{}2026-01-01 nor this\n{}", line(1, "out"), line(3, "end"));
    let body = r#"cat "$0.stderr" >&2; cat "$0.stdout""#;
    let (_agent, mut session, _docker) = with_docker(body, &stdout, &stderr);
    let lines = fetch(&mut session);
    assert_eq!(texts(&lines), ["out", "2026-01-01 nor this", "err", "no time", "end"]);
    assert_eq!(lines[1].ts, lines[0].ts);
}

#[test]
fn a_warning_alone_is_no_line() {
    let warning = include_str!("../fixtures/docker/config-warning.stderr");
    let (_agent, mut session, _docker) = with_docker(r#"cat "$0.stderr" >&2"#, "", warning);
    assert_eq!(fetch(&mut session), []);
}

/// Each piece is a write by itself, with time for it to be read before the next.
#[test]
fn output_in_odd_pieces() {
    let body = r#"
        say() { printf "$1"; sleep 0.02; }
        say '2026-01-01T00:'; say '00:01Z'; say ' split in its ti'; say 'me\n'
        say '2026-01-01T00:00:02Z \303'; say '\251 \360'; say '\237\230'; say '\200\n2'
        say '026-01-01T00:00:03Z a carriage return\r'; say '\n2026-01-01T00:00:04Z'
        say ' '; say '\n'; say '2026-01-01T00:00:05Z no newline'
    "#;
    let (_agent, mut session, _docker) = with_docker(body, "", "");
    let expected = ["split in its time", "é 😀", "a carriage return", "", "no newline"];
    assert_eq!(texts(&fetch(&mut session)), expected);
}

/// More than a pipe holds, on both at once: a docker that is not read from would not end.
#[test]
fn both_pipes_are_drained_together() {
    let filler = "x".repeat(1000);
    let lines = |first: u32| -> String { (0..400).map(|n| line(first + 2 * n, &filler)).collect() };
    for body in [
        r#"cat "$0.stdout"; cat "$0.stderr" >&2"#,
        r#"cat "$0.stderr" >&2; cat "$0.stdout""#,
        r#"cat "$0.stderr" >&2 & cat "$0.stdout"; wait"#,
    ] {
        let (_agent, mut session, _docker) = with_docker(body, &lines(0), &lines(1));
        let lines = fetch(&mut session);
        assert_eq!(lines.len(), 800);
        assert!(lines.is_sorted_by(|one, next| one.ts < next.ts));
    }
}

/// The end of docker is the end of its output, whoever else still holds the pipe.
#[test]
fn a_grandchild_that_holds_the_pipe_is_not_waited_for() {
    let body = r#"
        setsid sh -c 'echo $$ > "$0"; exec sleep 300' "$0.sleeper" &
        while ! [ -s "$0.sleeper" ]; do sleep 0.01; done
        cat "$0.stdout"
    "#;
    // As much as a pipe holds: it is all there when docker has ended.
    let stdout: String = (0..60).map(|n| line(n, &"x".repeat(960))).collect();
    let setup = Setup::new();
    setup.file(STDOUT, &stdout);
    let sleeper = setup.file("bin/docker.sleeper", "");
    setup.docker(body);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let began = Instant::now();
    assert_eq!(fetch(&mut session).len(), 60);
    // The deadline is at 30 s, and the sleeper ends at 300.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let sleeper = std::fs::read_to_string(sleeper).expect("the script wrote it");
    assert!(is_running(sleeper.trim().parse().expect("a process id")), "it left the group");
}

/// A notification asks for work and wants to hear nothing of it. One at a time: with nobody else
/// there, nothing but itself brings it to its end.
#[test]
fn a_notification_is_carried_out_and_not_answered() {
    let (agent, mut session, _docker) = with_docker(r#"cat "$0.stdout""#, &line(1, "x"), "");
    for (done, stream) in [(1, false), (2, true), (3, true)] {
        session.notify("logs_fetch", json!({"container": "web", "stream": stream}));
        poll_until("its end in the log", PATIENCE, || {
            let is_end = |line: &String| line.contains("logs_fetch: web: 1 line");
            (agent.log().into_iter().filter(is_end).count() == done).then_some(())
        });
    }
    session.assert_quiet();
}

/// docker has no use for the token, and what it starts could print it.
#[test]
fn the_token_is_not_in_the_environment_of_docker() {
    let (_agent, mut session, docker) = with_docker("sleep 300 & wait", "", "");
    session.send_request(1, "logs_fetch", json!({"container": "web"}));
    session.send_request(2, "metrics_collect", Value::Null);
    for call in docker.wait_for_calls("", 2) {
        let environment = std::fs::read(format!("/proc/{}/environ", call.pid));
        let environment = environment.expect("it runs");
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("PATH="), "{environment}");
        assert!(!environment.contains("VMKIT_AGENT_TOKEN"), "{environment}");
        assert!(!environment.contains(TOKEN), "{environment}");
    }
}
