//! The heartbeat: a ping every 30 s, and 10 s for any sign of life in return.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Agent, End, LARGE_LOG, Lost, PATIENCE, Session, Setup};

/// Reads on, answering nothing, until the agent's next ping.
#[track_caller]
fn next_ping(session: &mut Session, within: Duration) -> Instant {
    let deadline = Instant::now() + within;
    let known = session.pings.len();
    while session.pings.len() == known {
        let left = deadline.saturating_duration_since(Instant::now());
        match session.try_next(left.min(Duration::from_millis(100))) {
            Ok(text) => panic!("an unexpected message: {text}"),
            Err(End::Lost(Lost::Deadline)) if !left.is_zero() => {}
            Err(end) => panic!("no ping: {end:?}"),
        }
    }
    session.pings[known]
}

#[track_caller]
fn assert_about(seconds: u64, took: Duration) {
    let about =
        Duration::from_millis(seconds * 1000 - 500)..Duration::from_millis(seconds * 1000 + 3000);
    assert!(about.contains(&took), "{took:?}, not about {seconds} s");
}

#[test]
fn a_ping_every_30_s_keeps_an_idle_session() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let began = Instant::now();
    let first = next_ping(&mut session, Duration::from_secs(40));
    assert_about(30, first - began);
    let second = next_ping(&mut session, Duration::from_secs(40));
    assert_about(30, second - first);
    session.assert_quiet();
}

#[test]
fn a_missing_pong_drops_the_session_after_10_s() {
    let (peer, agent, mut session) = Agent::registered(Setup::new());
    session.answers_pings = false;
    let ping = next_ping(&mut session, Duration::from_secs(40));
    // With a close frame or without: what counts is that it goes.
    session.wait_for_end(Duration::from_secs(20)).expect("the agent ends the connection");
    let waited = ping.elapsed();
    assert!(
        waited > Duration::from_millis(9_500) && waited < Duration::from_secs(14),
        "{waited:?}"
    );
    agent.wait_for_log(&["did not answer a ping"]);
    peer.accept_registered().assert_quiet();
}

#[test]
fn any_frame_in_time_counts_as_life() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    session.answers_pings = false;
    let ping = next_ping(&mut session, Duration::from_secs(40));
    session.notify("vmkit_test_nothing", json!({}));
    match session.try_next(Duration::from_secs(12)) {
        Err(End::Lost(Lost::Deadline)) => {}
        other => panic!("{other:?}, {:?} after the ping", ping.elapsed()),
    }
    session.assert_quiet();
}

/// A frame from before the ping proves nothing about the time after it.
#[test]
fn life_before_the_ping_does_not_count() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    session.answers_pings = false;
    let began = Instant::now();
    while session.pings.is_empty() && began.elapsed() < Duration::from_secs(40) {
        session.notify("vmkit_test_nothing", json!({}));
        let _ = session.try_next(Duration::from_millis(200));
    }
    assert_about(
        30,
        session.pings.first().expect("talk does not stop the pings").duration_since(began),
    );
    session.wait_for_end(Duration::from_secs(20)).expect("the agent ends the connection");
}

/// Takes nothing more from the agent, while replies are due; when the agent dialed again.
fn dial_after_reading_stops(keep_talking: bool) -> Duration {
    let setup = Setup::new();
    setup.docker(LARGE_LOG);
    let (peer, _agent, mut session) = Agent::registered(setup);
    let began = Instant::now();
    for id in 0..32 {
        session.send_request(id, "logs_fetch", json!({"container": "web"}));
    }
    let talker = keep_talking.then(|| {
        let mut stream = session.stream.socket().try_clone().expect("descriptors are left");
        thread::spawn(move || {
            let frame =
                crate::support::Frame::text(r#"{"jsonrpc":"2.0","method":"vmkit_test_nothing"}"#);
            while std::io::Write::write_all(&mut stream, &frame.encode()).is_ok() {
                thread::sleep(Duration::from_millis(500));
            }
        })
    });
    peer.accept_within(Duration::from_secs(60)).expect("the agent gives up and dials again");
    let waited = began.elapsed();
    drop(session);
    drop(talker);
    waited
}

#[test]
fn a_gateway_that_does_not_read_is_dropped() {
    let waited = dial_after_reading_stops(false);
    assert!(waited < Duration::from_secs(30 + 10) + PATIENCE, "{waited:?}");
}

#[test]
fn a_gateway_that_talks_but_does_not_read_is_dropped() {
    let waited = dial_after_reading_stops(true);
    assert!(waited < Duration::from_secs(30 + 10) + PATIENCE, "{waited:?}");
}
