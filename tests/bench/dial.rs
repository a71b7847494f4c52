//! Coming and going: from exec to `register`, from SIGTERM to the exit, and against a gateway that ends
//! every connection at once.

use std::time::{Duration, Instant};

use crate::agent::{Agent, Docker};
use crate::figures::Figures;
use crate::gateway::Gateway;
use crate::support::{Dial, Frame, PATIENCE, Peer};
use crate::table::Row;
use crate::world::World;

/// A whole start, with a handshake whose certificate the agent has to verify.
pub fn start(world: &World) -> Vec<Row> {
    let runs = world.pick(25, 5);
    let started = |peer: &Peer| {
        let agent = Agent::exec(world, &peer.url());
        let mut gateway = Gateway::of(peer.accept_upgraded());
        let (text, at) = gateway.message();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(r#""method":"register""#), "not register: {text}");
        at - agent.started
    };
    let tls = Peer::tls(&world.identity);
    // The binary is read from the disk only once.
    started(&tls);
    let over_tls = Figures::of((0..runs).map(|_| started(&tls)));
    let plain = Peer::plain();
    let over_tcp = Figures::of((0..runs).map(|_| started(&plain)));
    let kept = over_tls.median() <= Duration::from_millis(10);
    vec![
        Row::judged("exec to register, over TLS", over_tls.to_string(), "≤ 10 ms", kept),
        Row::told("exec to register, plain", over_tcp.to_string()),
    ]
}

pub fn stop(world: &World) -> Vec<Row> {
    let stopped = |answers: bool| {
        let peer = Peer::tls(&world.identity);
        let mut agent = Agent::start(world, &peer.url(), Docker::Real);
        let mut gateway = Gateway::of(peer.accept_registered());
        // It has read the acknowledgement once it answers this.
        gateway.ping();
        gateway.pong();
        let sent = Instant::now();
        agent.terminate();
        let (code, _) = gateway.close();
        assert_eq!(code, 1001, "the close frame's code");
        if answers {
            gateway.session.send(&Frame::close(1001));
        }
        agent.wait_for_exit();
        sent.elapsed()
    };
    let rows = [
        ("SIGTERM to exit, close 1001 answered", true),
        ("SIGTERM to exit, close 1001 unanswered", false),
    ];
    let runs = world.pick(5, 2);
    let row = |(what, answers)| {
        let figures = Figures::of((0..runs).map(|_| stopped(answers)));
        let kept = figures.most() <= Duration::from_secs(1);
        Row::judged(what, figures.to_string(), "≤ 1000 ms", kept)
    };
    rows.map(row).into()
}

pub fn storm_of_accepts(world: &World) -> Vec<Row> {
    storm(world, "TCP accepted and closed", drop)
}

pub fn storm_of_sessions(world: &World) -> Vec<Row> {
    storm(world, "registered and closed", |dial| {
        let mut session = dial.switch();
        session.read_register();
        session.acknowledge();
        session.send(&Frame::close(1001));
        let _ = session.wait_for_end(PATIENCE);
    })
}

/// Counts the dials against a gateway that ends each of them like this.
fn storm(world: &World, how: &str, end: impl Fn(Dial)) -> Vec<Row> {
    let seconds = world.pick(60, 10);
    let peer = Peer::plain();
    let _agent = Agent::start(world, &peer.url(), Docker::Real);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut dials = 0;
    while let Some(dial) = peer.accept_within(deadline.saturating_duration_since(Instant::now())) {
        dials += 1;
        end(dial);
    }
    assert!(dials > 1, "it must come back");
    let what = format!("dials in {seconds} s, each {how}");
    vec![Row::judged(&what, dials.to_string(), &format!("≤ {seconds}"), dials <= seconds)]
}
