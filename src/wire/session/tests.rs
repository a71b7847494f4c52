//! Sessions over a loopback connection; the other end is written by hand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use tungstenite::protocol::Role;

use super::*;
use crate::run::wait::{Interest, Waiter};
use crate::wire::limits;
use crate::wire::transport::Wire;

struct Scene {
    waiter: Rc<Waiter>,
    session: Session,
    peer: TcpStream,
}

const SOON: Duration = Duration::from_secs(5);
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

impl Scene {
    fn new() -> Scene {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = listener.accept().unwrap().0;
        peer.set_read_timeout(Some(SOON)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let waiter = Waiter::new().unwrap();
        waiter.watch_socket(&socket, Interest::Read).unwrap();
        let wire = Wire::new(socket, Rc::clone(&waiter), Interest::Read);
        let stream = Metered::new(Transport::Plain(wire), Vec::new());
        let websocket = WebSocket::from_raw_socket(stream, Role::Client, Some(limits::websocket()));
        Scene { session: Session::new(websocket, Instant::now()), waiter, peer }
    }

    /// The gateway sends one short frame.
    fn tell(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![opcode, payload.len().try_into().unwrap()];
        frame.extend_from_slice(payload);
        self.peer.write_all(&frame).unwrap();
    }

    /// The next frame that the agent sends.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.peer.read_exact(&mut head).unwrap();
        let length = usize::from(head[1] & 0x7f);
        assert!(length < 126, "a short frame");
        let mut rest = vec![0; 4 + length];
        self.peer.read_exact(&mut rest).unwrap();
        let (mask, payload) = rest.split_at(4);
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        (head[0], payload.collect())
    }

    /// Turns until there is a message, or the end.
    fn turn(&mut self) -> Result<Utf8Bytes, Lost> {
        let end = Instant::now() + SOON;
        loop {
            let now = Instant::now();
            assert!(now < end, "neither a message nor the end");
            self.waiter.set_deadline(Some(self.session.deadline().min(end)));
            if let Some(message) = self.session.turn(now)? {
                return Ok(message);
            }
        }
    }

    /// One turn that does not sleep.
    fn turn_once(&mut self) -> Result<Option<Utf8Bytes>, Lost> {
        let now = Instant::now();
        self.waiter.set_deadline(Some(now));
        self.session.turn(now)
    }
}

fn left(outcome: Result<Utf8Bytes, Lost>) -> String {
    match outcome {
        Err(Lost::Left(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_go_both_ways() {
    let mut scene = Scene::new();
    scene.session.send("to the gateway");
    scene.tell(TEXT, b"to the agent");
    assert_eq!(scene.turn().unwrap(), "to the agent");
    assert_eq!(scene.hear(), (TEXT, b"to the gateway".to_vec()));
    assert!(scene.session.has_sent_all());
}

#[test]
fn a_close_of_ours_ends_with_its_answer() {
    let mut scene = Scene::new();
    scene.session.send("before");
    assert!(scene.turn_once().unwrap().is_none());
    scene.session.close(Instant::now(), CloseCode::Away, "bye".to_owned(), SOON * 2);
    assert!(scene.session.is_closing());
    scene.session.send("after");
    // A message that comes before the answer is thrown away.
    scene.tell(TEXT, b"late");
    assert!(scene.turn_once().unwrap().is_none());
    scene.tell(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(left(scene.turn()), "bye");
    assert_eq!(scene.hear(), (TEXT, b"before".to_vec()));
    assert_eq!(scene.hear(), (CLOSE, [&1001_u16.to_be_bytes(), b"bye".as_slice()].concat()));
    drop(scene.session);
    assert_eq!(scene.peer.read(&mut [0]).unwrap(), 0, "nothing after the close");
}

#[test]
fn a_close_without_an_answer_ends_at_its_limit() {
    let mut scene = Scene::new();
    let now = Instant::now();
    scene.session.close(now, CloseCode::Away, "first".to_owned(), SOON * 2);
    let limit = Duration::from_millis(50);
    // A second close shortens the wait, and keeps the reason.
    scene.session.close(now, CloseCode::Policy, "second".to_owned(), limit);
    scene.session.close(now, CloseCode::Policy, "third".to_owned(), SOON);
    assert_eq!(scene.session.deadline(), now + limit);
    assert_eq!(left(scene.turn()), "first");
    assert!(now.elapsed() >= limit);
    assert_eq!(scene.hear().1[..2], 1001_u16.to_be_bytes());
}

#[test]
fn a_close_of_the_gateways_is_answered_and_drained() {
    let mut scene = Scene::new();
    scene.tell(CLOSE, &[&4000_u16.to_be_bytes(), b"why".as_slice()].concat());
    while !scene.session.is_closing() {
        assert!(scene.turn_once().unwrap().is_none());
    }
    // The session waits for the gateway to hang up, which has to close first.
    assert!(scene.turn_once().unwrap().is_none());
    assert_eq!(scene.hear().0, CLOSE);
    scene.peer.shutdown(std::net::Shutdown::Write).unwrap();
    match scene.turn() {
        Err(Lost::Closed(Some((4000, reason)))) => assert_eq!(reason, "why"),
        other => panic!("{other:?}"),
    }
}

/// A close of the gateway's: what the agent answers, and what it says.
fn closed(payload: &[u8]) -> (Vec<u8>, Lost) {
    let mut scene = Scene::new();
    // A message before it, in the same segment.
    scene.peer.write_all(&[&[TEXT, 2], b"hi".as_slice()].concat()).unwrap();
    scene.tell(CLOSE, payload);
    assert_eq!(scene.turn().unwrap(), "hi");
    while !scene.session.is_closing() {
        assert!(scene.turn_once().unwrap().is_none());
    }
    let (opcode, answer) = scene.hear();
    assert_eq!(opcode, CLOSE);
    scene.peer.shutdown(std::net::Shutdown::Write).unwrap();
    (answer, scene.turn().unwrap_err())
}

#[test]
fn a_close_of_the_gateways_is_told_as_it_came() {
    for (code, answer) in
        [(1000, 1000), (1014, 1014), (3000, 3000), (4409, 4409), (1005, 1002), (0, 1002)]
    {
        let (answered, lost) = closed(&[&u16::to_be_bytes(code), "é".as_bytes()].concat());
        assert_eq!(answered, u16::to_be_bytes(answer));
        let told =
            matches!(&lost, Lost::Closed(Some((told, reason))) if *told == code && reason == "é");
        assert!(told, "{code}: {lost:?}");
    }
    let (answered, lost) = closed(&[0x0f, 0xa0, 0xff]);
    assert_eq!(answered, 1007_u16.to_be_bytes());
    assert!(
        matches!(&lost, Lost::Closed(Some((4000, reason))) if reason == "\u{fffd}"),
        "{lost:?}"
    );
    let (answered, lost) = closed(&[]);
    assert!(answered.is_empty());
    assert!(matches!(lost, Lost::Closed(None)), "{lost:?}");
    let (answered, lost) = closed(&[3]);
    assert_eq!(answered[..2], 1002_u16.to_be_bytes());
    assert!(matches!(&lost, Lost::Left(why) if why.contains("broken close frame")), "{lost:?}");
}

#[test]
fn what_the_protocol_forbids_closes_the_session() {
    let mut scene = Scene::new();
    scene.tell(BINARY, b"x");
    while !scene.session.is_closing() {
        assert!(scene.turn_once().unwrap().is_none());
    }
    let (opcode, payload) = scene.hear();
    assert_eq!((opcode, &payload[..2]), (CLOSE, 1003_u16.to_be_bytes().as_slice()));
    scene.tell(CLOSE, &1003_u16.to_be_bytes());
    assert_eq!(left(scene.turn()), "the gateway sent a binary frame");
}

#[test]
fn a_connection_that_ends_without_a_close_is_told_from_a_close() {
    let mut scene = Scene::new();
    scene.peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(scene.turn(), Err(Lost::Ended)));
}

#[test]
fn nothing_is_read_while_the_outbox_is_full() {
    let mut scene = Scene::new();
    // Far more than the socket's buffers take from a peer that does not read.
    for _ in 0..64 {
        scene.session.send(vec![b'x'; 1 << 20]);
    }
    scene.tell(TEXT, b"unread");
    for _ in 0..100 {
        assert!(scene.turn_once().unwrap().is_none());
    }
    assert!(!scene.session.is_drained());
    // Reading makes room, message by message.
    let peer = scene.peer.try_clone().unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut scratch, end) = (vec![0; 1 << 20], Instant::now() + SOON * 4);
    let message = loop {
        assert!(Instant::now() < end, "the message is never read");
        let _ = (&peer).read(&mut scratch);
        if let Some(message) = scene.turn_once().unwrap() {
            break message;
        }
    };
    assert_eq!(message, "unread");
}
