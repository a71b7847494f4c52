//! How much a gateway can cause to be logged: 20 lines in 10 s and a count, whatever it sends.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Download, Frame, PATIENCE, Peer, Release, Server, Session, Setup};

/// Of lines about messages, at the beginning of a first session: 20 without the six that are kept for
/// lines about sessions and the two that were about this one.
const LINES: usize = 12;
const LEFT_OUT: &str = "lines about the gateway's messages were left out";

/// The counts of the lines that were left out.
fn counts(log: &[String]) -> Vec<usize> {
    let counts = log.iter().filter_map(|line| {
        let count = line.strip_suffix(LEFT_OUT)?.trim_start_matches("<6>").trim();
        Some(count.parse().expect("a number"))
    });
    counts.collect()
}

/// Holds a log to the bound; `since` is when its agent was started.
#[track_caller]
fn assert_bounded(log: &[String], since: Instant) {
    let windows = since.elapsed().as_secs() as usize / 10 + 1;
    // 20 and a count for each 10 s; and what is not counted: started, stopping, stopped.
    let bound = windows * 21 + 4;
    assert!(log.len() <= bound, "{} lines, not {bound}: {:#?}", log.len(), &log[..30]);
}

/// Sends these texts `rounds` times, and reads an answer to each where there are any; a ping now and
/// then is answered in time.
fn flood(session: &mut Session, texts: &[&str], rounds: usize, answered: bool) {
    const CHUNK: usize = 500;
    let mut pongs = Vec::new();
    for _ in 0..rounds.div_ceil(CHUNK) {
        let frames: Vec<u8> = texts.iter().flat_map(|text| Frame::text(text).encode()).collect();
        session.send_raw(&frames.repeat(CHUNK));
        if answered {
            (0..CHUNK * texts.len()).for_each(|_| drop(session.next_text()));
        }
        pongs.push(session.ping(b"alive?"));
    }
    pongs.sort();
    assert!(pongs[pongs.len() / 2] < Duration::from_millis(500), "{pongs:?}");
}

#[test]
fn a_flood_of_messages_is_a_few_lines_and_the_count_of_the_others() {
    const ROUNDS: usize = 50_000;
    let since = Instant::now();
    let (peer, mut agent, mut session) = Agent::registered(Setup::new());
    let texts = ["{", r#"{"jsonrpc":"2.0","id":1,"method":"vmkit_test_nothing"}"#];
    flood(&mut session, &texts, ROUNDS, true);
    assert_bounded(&agent.log(), since);

    // A session that is lost then is not hidden, nor is the next.
    let from = agent.log().len();
    drop(session);
    agent.wait_for_log_after(from, &["lost the session"], PATIENCE);
    let session = peer.accept_registered();
    agent.wait_for_log_after(from, &["registered as"], PATIENCE);
    drop(session);
    agent.assert_exits_on(Signal::TERM);
    let log = agent.whole_log();
    assert_bounded(&log, since);
    let told = |line: &&String| {
        line.contains("refused a message") || line.contains("vmkit_test_nothing: failed")
    };
    let written = log.iter().filter(told).count();
    assert!(written >= LINES, "the first are told, {written}: {log:#?}");
    assert_eq!(written + counts(&log).iter().sum::<usize>(), 2 * ROUNDS, "{log:#?}");
}

#[test]
fn debug_lines_count_too() {
    let since = Instant::now();
    let (_peer, mut agent, mut session) =
        Agent::registered(Setup::new().env("VMKIT_LOG_LEVEL", "debug"));
    let texts = [r#"{"jsonrpc":"2.0","id":9,"result":1}"#, r#"{"jsonrpc":"2.0","method":"x"}"#];
    flood(&mut session, &texts, 10_000, false);
    session.assert_quiet();
    drop(session);
    agent.assert_exits_on(Signal::TERM);
    let log = agent.whole_log();
    assert_bounded(&log, since);
    assert!(counts(&log).iter().sum::<usize>() > 39_000, "{log:#?}");
}

/// The log tells of each request for an upgrade and of each failure, up to its bound.
#[test]
fn upgrades_that_fail_in_a_loop_are_bounded() {
    let since = Instant::now();
    let (_peer, agent, mut session) = Agent::registered(Setup::new().installed());
    let closed = Peer::plain().port();
    let url = format!("http://127.0.0.1:{closed}/agent");
    let request =
        json!({"version": "9.9.9", "download_url": url, "checksum_sha256": "0".repeat(64)});
    for id in 0..40 {
        assert!(session.request(id, "agent_upgrade", request.clone()).code() < 0);
    }
    let log = agent.log();
    assert_bounded(&log, since);
    let told = |words| log.iter().filter(|line| line.contains(words)).count();
    assert!(told("requested, from") >= 5 && told("given up") >= 5, "{log:#?}");
}

/// A gateway can't hide that it has replaced the agent.
#[test]
fn an_upgrade_that_was_installed_is_told_in_the_middle_of_a_flood() {
    let server = Server::plain();
    let (peer, agent, mut session) = Agent::registered(Setup::new().installed());
    flood(&mut session, &["{"], 1000, true);
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let request = json!({
        "version": next.version, "download_url": url, "checksum_sha256": next.sha256(),
    });
    let answer = session.request("u", "agent_upgrade", request);
    assert_eq!(*answer.result(), json!({"status": "upgrading"}));
    assert_eq!(session.expect_close(), 1001);
    let _session = peer.accept_registered();
    agent.wait_for_log(&["confirmed", &next.version]);
    let log = agent.log();
    for words in ["swapped", "restarting"] {
        let told = log.iter().any(|line| line.contains(words));
        assert!(told, "no {words:?} in {log:#?}");
    }
    assert!(counts(&log).iter().sum::<usize>() > 900, "{log:#?}");
}

/// A gateway that asks for snapshots all day fills no log; what changes is said.
#[test]
fn snapshots_are_logged_when_something_begins_or_ends_to_be_missing() {
    let setup = Setup::new();
    let broken = setup.file("broken", "");
    setup.docker(&format!(
        "[ -e {broken} ] || exec echo CONTAINER ID; echo 'permission denied' >&2; exit 1"
    ));
    let (_peer, agent, mut session) = Agent::registered(setup);
    let mut snapshot = || {
        let result = session.request(1, "metrics_collect", Value::Null).result().clone();
        session.next_notification("health_snapshot");
        result["container_count"].clone()
    };
    assert_eq!([snapshot(), snapshot()], [Value::Null, Value::Null]);
    fs::remove_file(&broken).expect("just written");
    assert_eq!([snapshot(), snapshot()], [json!(0), json!(0)]);
    let log = agent.log();
    let told: Vec<_> = log.iter().filter(|line| line.contains("metrics_collect")).collect();
    assert_eq!(told.len(), 2, "{log:#?}");
    assert!(told[0].starts_with("<4>") && told[0].contains("without container data"), "{told:?}");
    assert!(told[1].starts_with("<6>") && told[1].contains("snapshot in"), "{told:?}");
}
