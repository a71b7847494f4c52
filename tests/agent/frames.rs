//! WebSocket frames: what the agent takes, what it closes for, and with which code.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Agent, Authority, Frame, PATIENCE, Peer, Setup, opcode};

const MEBIBYTE: usize = 1 << 20;

fn request(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"nope"}}"#)
}

/// Each of these, as the first thing in a session, is answered with this close code; then a new dial.
#[track_caller]
fn assert_closes(expected: u16, cases: &[(&str, Vec<u8>)]) {
    // An agent for each case, as each close also begins a longer back-off.
    std::thread::scope(|scope| {
        for (name, bytes) in cases {
            scope.spawn(move || {
                let (peer, mut agent, mut session) = Agent::registered(Setup::new());
                session.send_raw(bytes);
                assert_eq!(session.expect_close(), expected, "{name}");
                session.send(&Frame::close(expected));
                drop(session);
                peer.accept_registered().assert_quiet();
                agent.assert_running();
            });
        }
    });
}

#[test]
fn binary_closes_1003() {
    let text = Frame::new(opcode::BINARY, request(1)).encode();
    let fragment = Frame::new(opcode::BINARY, "x").unfinished().encode();
    let rest = Frame::new(opcode::CONTINUATION, "x").encode();
    assert_closes(
        1003,
        &[
            ("a request", text),
            ("nothing", Frame::new(opcode::BINARY, "").encode()),
            ("in fragments", [fragment, rest].concat()),
        ],
    );
}

#[test]
fn broken_frames_close_1002() {
    let text = Frame::text(request(1));
    let masked = Frame { masked: true, ..text.clone() };
    let reserved = |reserved| Frame { reserved, ..text.clone() }.encode();
    let fragment = Frame::text("{").unfinished();
    assert_closes(
        1002,
        &[
            ("masked", masked.encode()),
            ("reserved bit 1", reserved(4)),
            ("reserved bit 2", reserved(2)),
            ("reserved bit 3", reserved(1)),
            ("reserved data opcode", Frame::new(0x3, "x").encode()),
            ("reserved control opcode", Frame::new(0xB, "x").encode()),
            ("ping in fragments", Frame::new(opcode::PING, "x").unfinished().encode()),
            ("ping of 126 bytes", Frame::new(opcode::PING, [b'x'; 126]).encode()),
            ("continuation of nothing", Frame::new(opcode::CONTINUATION, "x").encode()),
            ("text within text", [fragment.encode(), text.encode()].concat()),
            ("close of one byte", Frame::new(opcode::CLOSE, "x").encode()),
            ("close in fragments", Frame::close(1000).unfinished().encode()),
            ("close of 126 bytes", Frame::new(opcode::CLOSE, [b'x'; 126]).encode()),
        ],
    );
}

/// A gateway's close with this code: what the agent answers, and the line about it.
fn closed_with(code: u16) -> (u16, String) {
    let (peer, agent, mut session) = Agent::registered(Setup::new());
    session.send(&Frame::new(opcode::CLOSE, [&code.to_be_bytes(), "why é".as_bytes()].concat()));
    let answer = session.expect_close();
    drop(session);
    let line = agent.wait_for_log(&["lost the session", &format!("({code}: why é)")]);
    peer.accept_registered().assert_quiet();
    (answer, line)
}

#[test]
fn a_close_of_the_gateways_is_answered_with_its_code_and_told_as_it_came() {
    for code in [1000, 1001, 1011, 1014, 3000, 4999] {
        let (answer, line) = closed_with(code);
        assert_eq!(answer, code);
        assert!(!line.contains("1002") && !line.contains("RFC"), "{line}");
    }
}

#[test]
fn a_code_that_must_not_be_sent_is_answered_with_1002_and_told_as_it_came() {
    for code in [0, 999, 1005, 1006, 1015, 2999, 5000] {
        let (answer, line) = closed_with(code);
        assert_eq!(answer, 1002, "{code}");
        assert!(!line.contains("1002") && line.contains("RFC 6455"), "{line}");
    }
}

/// What the gateway asked for before it closed is not answered, and does no harm.
#[test]
fn a_close_may_come_with_the_upgrade_response() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    let burst = [Frame::text(request(1)).encode(), Frame::close(4000).encode()].concat();
    let mut session = peer.accept().switch_with(&burst);
    assert_eq!(session.expect_close(), 4000);
    drop(session);
    agent.wait_for_log(&["(4000)"]);
    peer.accept_registered().assert_quiet();
}

#[test]
fn text_that_is_not_utf8_closes_1007() {
    let split = Frame::text(b"\"\xc3").unfinished().encode();
    let rest = Frame::new(opcode::CONTINUATION, b"\x28\"").encode();
    assert_closes(
        1007,
        &[
            ("latin-1", Frame::text(b"\"\xe9\"").encode()),
            ("an overlong slash", Frame::text(b"\"\xc0\xaf\"").encode()),
            ("a surrogate", Frame::text(b"\"\xed\xa0\x80\"").encode()),
            ("cut short", Frame::text(b"\"\xc3").encode()),
            ("across fragments", [split, rest].concat()),
        ],
    );
}

#[test]
fn more_than_a_mebibyte_closes_1009() {
    let over = Frame::text(vec![b' '; MEBIBYTE + 1]).encode();
    let half = vec![b' '; MEBIBYTE / 2 + 1];
    let first = Frame::text(&half).unfinished().encode();
    let second = Frame::new(opcode::CONTINUATION, &half).encode();
    let mut many = Frame::text("").unfinished().encode();
    let small = Frame::new(opcode::CONTINUATION, [b' '; 1024]).unfinished().encode();
    for _ in 0..=1024 {
        many.extend(&small);
    }
    assert_closes(
        1009,
        &[
            ("whole", over),
            ("two fragments", [first, second].concat()),
            ("a thousand fragments", many),
            ("a header that promises a GiB", Frame::header(true, 0, opcode::TEXT, false, 1 << 30)),
            (
                "a header that promises 2^63 - 1",
                Frame::header(true, 0, opcode::TEXT, false, (1 << 63) - 1),
            ),
        ],
    );
}

#[test]
fn a_mebibyte_is_taken() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let mut text = request(1);
    text.push_str(&" ".repeat(MEBIBYTE - text.len()));
    assert_eq!(session.exchange(&text).code(), -32601);
    for (at, part) in text.as_bytes().chunks(1000).enumerate() {
        let opcode = if at == 0 { opcode::TEXT } else { opcode::CONTINUATION };
        session.send(&Frame::new(opcode, part).unfinished());
    }
    session.send(&Frame::new(opcode::CONTINUATION, ""));
    assert_eq!(session.response_to(1, PATIENCE).code(), -32601);
}

#[test]
fn pings_between_fragments_are_answered_before_the_message_ends() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let text = request(9);
    let (first, rest) = text.split_at(10);
    session.send(&Frame::text(first).unfinished());
    assert!(session.ping(b"one") < PATIENCE);
    for (at, byte) in rest.bytes().enumerate() {
        session.send(&Frame::new(opcode::CONTINUATION, [byte]).unfinished());
        if at % 8 == 0 {
            session.ping(format!("ping {at}").as_bytes());
        }
    }
    session.send(&Frame::new(opcode::CONTINUATION, ""));
    assert_eq!(session.response_to(9, PATIENCE).code(), -32601);
}

/// A code point cut between two fragments is whole in the message.
#[test]
fn fragments_may_cut_characters() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let text = r#"{"jsonrpc":"2.0","id":"é😀","method":"nope"}"#.as_bytes();
    for (at, byte) in text.iter().enumerate() {
        let opcode = if at == 0 { opcode::TEXT } else { opcode::CONTINUATION };
        session.send(&Frame { last: at + 1 == text.len(), ..Frame::new(opcode, [*byte]) });
    }
    assert_eq!(session.response_to("é😀", PATIENCE).code(), -32601);
}

#[test]
fn pings_are_answered_at_once_with_their_payload() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let mut took: Vec<Duration> = (0..=20).map(|_| session.ping(b"are you there?")).collect();
    took.sort();
    // The median, so that only the agent is judged, not what else this machine is doing.
    assert!(took[took.len() / 2] < Duration::from_millis(40), "{took:?}");
    session.ping(b"");
    session.ping(&[0xff; 125]);
    session.send(&Frame::new(opcode::PONG, "unasked for"));
    session.assert_quiet();
}

#[test]
fn one_segment_may_hold_many_messages() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let burst: Vec<u8> = (1..=5).flat_map(|id| Frame::text(request(id)).encode()).collect();
    session.send_raw(&burst);
    for id in 1..=5 {
        assert_eq!(session.response_to(id, PATIENCE).code(), -32601);
    }
}

#[test]
fn messages_may_come_with_the_upgrade_response() {
    for tls in [false, true] {
        let authority = Authority::new();
        let peer = if tls { Peer::tls(&authority.good()) } else { Peer::plain() };
        let _agent = Agent::dialing(&peer).trusting(&authority).start();
        let burst: Vec<u8> = (1..=5).flat_map(|id| Frame::text(request(id)).encode()).collect();
        let mut session = peer.accept().switch_with(&burst);
        session.read_register();
        for id in 1..=5 {
            assert_eq!(session.response_to(id, PATIENCE).code(), -32601);
        }
        session.acknowledge();
        session.assert_quiet();
    }
}

#[test]
fn dripped_bytes_make_whole_messages() {
    for tls in [false, true] {
        let authority = Authority::new();
        let peer = if tls { Peer::tls(&authority.good()) } else { Peer::plain() };
        let _agent = Agent::dialing(&peer).trusting(&authority).start();
        let mut session = peer.accept_upgraded();
        session.stream.drip(Some(Duration::from_micros(100)));
        session.read_register();
        session.acknowledge();
        session.ping(b"drip");
        for id in 1..=20 {
            assert_eq!(session.request(id, "nope", Value::Null).code(), -32601);
        }
    }
}
