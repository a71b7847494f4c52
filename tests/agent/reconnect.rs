//! Lost sessions: the agent comes back, registers again, and never dials in a storm.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Agent, Dial, End, Frame, Lost, PATIENCE, Peer, Session, Setup, poll_until};

#[test]
fn every_way_to_lose_a_session_leads_to_the_next() {
    type Lose = fn(&mut Session);
    let ways: [(&str, Lose); 4] = [
        ("end of file", |_| {}),
        ("close", |session| session.send(&Frame::close(1000))),
        ("close without a code", |session| session.send_raw(&[0x88, 0])),
        ("reset in mid-frame", |session| {
            session.send_raw(&Frame::header(true, 0, 1, false, 100));
            let socket = socket2::SockRef::from(session.stream.socket());
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        }),
    ];
    for (name, lose) in ways {
        let (peer, agent, mut session) = Agent::registered(Setup::new());
        session.assert_quiet();
        lose(&mut session);
        drop(session);
        let mut next = peer.accept_upgraded();
        assert_eq!(next.read_register()["instance_id"], "vmkit-test-instance", "{name}");
        next.acknowledge();
        next.assert_quiet();
        assert!(agent.log().iter().any(|line| line.contains("lost")), "{name}: {:?}", agent.log());
    }
}

#[test]
fn a_close_is_answered_with_its_code() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    session.send(&Frame::close(1012));
    assert_eq!(session.expect_close(), 1012);
}

#[test]
fn after_its_close_the_agent_writes_no_more() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    session.send_request(1, "metrics_collect", json!({}));
    session.send(&Frame::new(2, "binary"));
    assert_eq!(session.expect_close(), 1003);
    // Neither the answer that is due a second later, nor to this one, nor a pong.
    session.send_request(2, "nope", json!({}));
    session.send(&Frame::new(9, "ping"));
    assert!(session.next_frame(Instant::now() + PATIENCE).is_err());
}

/// How many dials come within a minute when each is ended at once by `end`.
fn dials_in_a_minute(peer: &Peer, end: impl Fn(Dial)) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut dials = 0;
    while let Some(dial) = peer.accept_within(deadline.saturating_duration_since(Instant::now())) {
        dials += 1;
        end(dial);
    }
    dials
}

#[test]
fn gateway_that_accepts_and_closes_at_once_is_not_stormed() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).start();
    let dials = dials_in_a_minute(&peer, |dial| drop(dial.switch()));
    // With full jitter from 1 s up to 60 s the sixth dial comes after 31 s at the latest.
    assert!((5..=60).contains(&dials), "{dials} dials");
    agent.assert_running();
}

#[test]
fn sessions_that_die_young_do_not_begin_the_series_anew() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).start();
    let dials = dials_in_a_minute(&peer, |dial| {
        let mut session = dial.switch();
        session.read_register();
        session.acknowledge();
        session.assert_quiet();
    });
    // Were it begun anew each time, the dials would come twice a second.
    assert!((5..=30).contains(&dials), "{dials} dials");
}

#[test]
fn server_that_closes_before_the_upgrade_is_not_stormed() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).start();
    let dials = dials_in_a_minute(&peer, drop);
    assert!((5..=60).contains(&dials), "{dials} dials");
}

#[test]
fn gateway_that_comes_up_late_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let agent = crate::support::Setup::url(format!("ws://{address}/")).start();
    agent.wait_for_log(&["refused"]);
    let peer = Peer::on(std::net::TcpListener::bind(address).expect("still free"));
    peer.accept_registered().assert_quiet();
}

/// As a load balancer with an idle time-out does it.
#[test]
fn connections_that_are_cut_at_one_age_again_and_again_name_the_idle_time_out() {
    let age = Duration::from_millis(2_200);
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let losses = || agent.log().into_iter().filter(|line| line.contains("lost the session"));
    for count in 1..=4 {
        let mut session = peer.accept_registered();
        assert!(matches!(session.try_next(age), Err(End::Lost(Lost::Deadline))));
        drop(session);
        poll_until("the loss in the log", PATIENCE, || (losses().count() == count).then_some(()));
    }
    let advice = "without a close frame (session 3 in a row that ends so after about 2 s); a proxy or \
                  load balancer before the gateway may close idle connections after 2 s: set its idle \
                  time-out above 30 s (haproxy: timeout tunnel; nginx: proxy_read_timeout; Apache: \
                  ProxyTimeout); next try in ";
    let advised: Vec<bool> = losses().map(|line| line.contains(advice)).collect();
    assert_eq!(advised, [false, false, true, false], "{:#?}", agent.log());
}
