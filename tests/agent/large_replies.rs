//! Replies that are large: sent in fragments, with control frames between them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Agent, Authority, Frame, LARGE_LOG, PATIENCE, Peer, Session, narrow_listener, opcode,
    poll_until,
};

const FRAGMENT: usize = 64 * 1024;

fn registered(peer: &Peer) -> (Agent, Session) {
    let setup = Agent::dialing(peer);
    setup.docker(LARGE_LOG);
    let agent = setup.start();
    (agent, peer.accept_registered())
}

#[test]
fn large_replies_come_in_small_fragments_with_pongs_between() {
    const REPLIES: u32 = 12;
    let peer = Peer::on(narrow_listener());
    let (_agent, mut session) = registered(&peer);
    for id in 0..REPLIES {
        session.send_request(id, "logs_fetch", json!({"container": "web", "lines": 90}));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut replies, mut fragments, mut pongs, mut pongs_between) = (0, 0, 0, 0);
    let mut message = Vec::new();
    while replies < REPLIES {
        let frame = session.next_frame(deadline).expect("the replies");
        if frame.opcode == opcode::PONG {
            pongs += 1;
            pongs_between += u32::from(!message.is_empty());
            continue;
        }
        assert!(frame.payload.len() <= FRAGMENT, "a frame of {} bytes", frame.payload.len());
        let expected = if message.is_empty() { opcode::TEXT } else { opcode::CONTINUATION };
        assert_eq!(frame.opcode, expected);
        message.extend(frame.payload);
        fragments += 1;
        if fragments % 3 == 0 {
            session.send(&Frame::new(opcode::PING, "still there?"));
        }
        if frame.last {
            let reply: Value = serde_json::from_slice(&message).expect("JSON");
            assert_eq!(reply["result"]["lines"].as_array().map(Vec::len), Some(90));
            message.clear();
            replies += 1;
        }
    }
    assert!(fragments >= REPLIES * 14, "{fragments} fragments");
    // An agent that finishes a reply before it answers has no pong between fragments. How many there
    // are is the kernel's doing: it may hold a whole reply that was sent before the ping arrived.
    assert!(pongs > 40 && pongs_between > 0, "{pongs_between} of {pongs} pongs between fragments");
}

#[test]
fn replies_of_another_request_do_not_cut_into_a_large_one() {
    let peer = Peer::on(narrow_listener());
    let (_agent, mut session) = registered(&peer);
    for id in 1..=4 {
        session.send_request(id, "logs_fetch", json!({"container": "web", "lines": 90}));
        session.send_request(100 + id, "nope", Value::Null);
    }
    // `response_to` holds every message to the rules of fragmentation and of JSON.
    for id in 1..=4 {
        assert_eq!(session.response_to(100 + id, PATIENCE).code(), -32601);
        let reply = session.response_to(id, PATIENCE);
        assert_eq!(reply.result()["lines"].as_array().map(Vec::len), Some(90));
    }
}

#[test]
fn pings_are_answered_while_large_replies_leave() {
    let peer = Peer::on(narrow_listener());
    let (_agent, mut session) = registered(&peer);
    for id in 1..=8 {
        session.send_request(id, "logs_fetch", json!({"container": "web", "lines": 90}));
    }
    let mut slowest = Duration::ZERO;
    for id in 1..=8 {
        slowest = slowest.max(session.ping(format!("{id}").as_bytes()));
        session.response_to(id, PATIENCE);
    }
    // The bytes in the socket's buffers come first; ten seconds are the gateway's patience.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

/// A reader that stalls with TLS records half sent loses nothing, and is not taken for a lost one.
#[test]
fn large_replies_outlast_a_stalled_reader_under_tls() {
    let authority = Authority::new();
    let peer = Peer::on(narrow_listener()).with_identity(&authority.good());
    let setup = Agent::dialing(&peer).trusting(&authority);
    setup.docker(LARGE_LOG);
    let agent = setup.start();
    let mut session = peer.accept_registered();
    for id in 0..12 {
        session.send_request(id, "logs_fetch", json!({"container": "web", "lines": 90}));
    }
    // Stalls until the agent has filled the socket, and for a while then.
    let mut last = (0, Instant::now());
    poll_until("a full socket", PATIENCE, || {
        let unsent = agent.connections_to(peer.port()).first()?.unsent;
        if unsent != last.0 {
            last = (unsent, Instant::now());
        }
        (unsent > 0 && last.1.elapsed() > Duration::from_secs(2)).then_some(())
    });
    for id in 0..12 {
        let reply = session.response_to(id, PATIENCE);
        assert_eq!(reply.result()["lines"].as_array().map(Vec::len), Some(90));
    }
    session.assert_quiet();
}
