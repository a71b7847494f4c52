//! Many follows at once: eight and no more, of containers that print without a pause or nothing at all,
//! over a gateway that reads fast, slowly or not for a while. Nobody else waits, and memory is bounded.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::follow::{BY_PIPES, Printer, Tail, cancel};
use super::logs_flood::assert_small;
use crate::support::{Agent, Frame, PATIENCE, Peer, Session, Setup, narrow_listener, opcode};

const BUSY: i64 = -32004;
const FOLLOWS: usize = 8;

/// Prints its number in each line, as fast as it is read. Long lines: the tests check each, and have to
/// read as fast as they come.
const NEVER_PAUSES: &str = r#"
    exec awk 'BEGIN { for (n = 0; ; n++) printf "2026-01-01T00:00:00.%09dZ %01000d\n", n, n }'
"#;

#[track_caller]
fn follow_all(session: &mut Session) -> Vec<Tail> {
    let ask = |id| Tail::ask(session, id, json!({"container": format!("c{id}")}));
    (0..FOLLOWS).map(ask).collect()
}

/// Takes a message of one of these follows.
#[track_caller]
fn take(tails: &mut [Tail], message: &Value) {
    assert!(tails.iter_mut().any(|tail| tail.take(message)), "of no follow: {message:.300}");
}

/// The numbers in the lines of [`NEVER_PAUSES`] go on, but for those that were dropped.
#[track_caller]
fn assert_gapless(tail: &Tail) {
    let numbers: Vec<u64> = tail.lines.iter().map(|line| line.text.parse().unwrap()).collect();
    let gaps = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>() + numbers[0];
    assert_eq!(gaps, tail.dropped, "lines that are missing, and lines that were dropped");
}

#[test]
fn eight_follow_beside_thirty_two_requests_and_a_ninth_is_refused() {
    let setup = Setup::new();
    let mut printers: Vec<Printer> =
        (0..9).map(|number| Printer::new(&setup, &format!("c{number}"))).collect();
    let docker = setup.docker(&format!(
        "[ -e \"${{0%/*}}/$5.out\" ] || [ \"$6\" ] || exec sleep 300\n{BY_PIPES}"
    ));
    let (_peer, _agent, mut session) = Agent::registered(setup);
    for id in 100..132 {
        session.send_request(id, "logs_fetch", json!({"container": "hangs"}));
    }
    assert_eq!(session.request(132, "logs_fetch", json!({"container": "hangs"})).code(), BUSY);
    let mut tails = follow_all(&mut session);
    for (number, printer) in printers.iter_mut().enumerate().take(FOLLOWS) {
        printer.print(&format!("of {number}"));
    }
    while tails.iter().any(|tail| tail.lines.is_empty()) {
        let message = session.next_message();
        take(&mut tails, &message);
    }
    for (number, tail) in tails.iter().enumerate() {
        assert_eq!(tail.lines[0].text, format!("of {number}"));
    }
    let ninth = session.request(9, "logs_fetch", json!({"container": "c8", "follow": true}));
    assert_eq!(ninth.code(), BUSY, "{ninth:?}");
    assert!(ninth.message().contains("8 logs are followed"), "{ninth:?}");
    assert_eq!(docker.calls().len(), 40);

    // A cancel has room while 32 are in flight, and makes room for another follow.
    assert!(cancel(&mut session, 10, 3));
    assert_eq!(tails[3].wait_for_end(&mut session), "cancelled");
    let mut tail = Tail::ask(&mut session, 9, json!({"container": "c8"}));
    printers[8].print("of 8");
    tail.wait_for_lines(&mut session, 1);
    assert_eq!(session.request(11, "metrics_collect", json!({})).code(), BUSY);
}

/// The 10 ms of the promise are measured by `make bench`, on the release binary. Here the machine is busy
/// with other tests, and the agent may be a debug build.
#[test]
fn busy_containers_delay_nobody() {
    let setup = Setup::new();
    setup.docker(NEVER_PAUSES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let _tails = follow_all(&mut session);
    let mut chunks = [0; FOLLOWS];
    let mut times = [Vec::new(), Vec::new()];
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let asked = Instant::now();
        session.send(&Frame::new(opcode::PING, "busy?"));
        times[0]
            .push(until(&mut session, &mut chunks, |frame| frame.opcode == opcode::PONG) - asked);
        let asked = Instant::now();
        session.send_request("quick", "vmkit_test_no_such_method", Value::Null);
        let answers =
            |frame: &Frame| frame.payload.starts_with(br#"{"jsonrpc":"2.0","id":"quick""#);
        times[1].push(until(&mut session, &mut chunks, answers) - asked);
    }
    for times in &mut times {
        times.sort();
        let [median, p95] = [50, 95].map(|share| times[times.len() * share / 100]);
        assert!(median < Duration::from_millis(40), "{median:?} of {}", times.len());
        assert!(p95 < Duration::from_millis(250), "{p95:?} of {}", times.len());
    }
    let (least, most) = (chunks.iter().min().unwrap(), chunks.iter().max().unwrap());
    assert!(*least > 2 && most - least <= 3, "each has its share: {chunks:?}");
}

/// When the frame came that is so. Lines are only counted: to check each of them takes longer than they
/// take to come.
#[track_caller]
fn until(session: &mut Session, chunks: &mut [u32], so: impl Fn(&Frame) -> bool) -> Instant {
    loop {
        let frame = session.next_frame(Instant::now() + PATIENCE).expect("a frame");
        if so(&frame) {
            return frame.at;
        }
        let head = br#"{"jsonrpc":"2.0","method":"logs_chunk","params":{"id":"#;
        let id = frame.payload.strip_prefix(head).expect("a chunk of lines")[0] - b'0';
        chunks[usize::from(id)] += 1;
    }
}

/// Reads as little as a TCP connection lets it, or not at all for a while.
struct Slow {
    _peer: Peer,
    agent: Agent,
    session: Session,
    tails: Vec<Tail>,
}

impl Slow {
    fn start() -> Slow {
        let peer = Peer::on(narrow_listener());
        let setup = Agent::dialing(&peer);
        setup.docker(NEVER_PAUSES);
        let agent = setup.start();
        let mut session = peer.accept_registered();
        let tails = follow_all(&mut session);
        Slow { _peer: peer, agent, session, tails }
    }

    /// Reads on until each follow is so.
    #[track_caller]
    fn read_until(&mut self, so: impl Fn(&Tail) -> bool) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while !self.tails.iter().all(&so) {
            assert!(Instant::now() < deadline, "it does not come");
            let message = self.session.next_message();
            take(&mut self.tails, &message);
        }
    }
}

#[test]
fn a_gateway_that_does_not_read_gets_the_newest_lines_and_the_count_of_the_others() {
    let mut slow = Slow::start();
    slow.read_until(|tail| tail.chunks > 0);
    sleep(Duration::from_secs(6)); // the time in which nothing is read
    let asked = Instant::now();
    slow.session.ping(b"there?");
    // What was on its way comes first, and the follows add no more than a chunk to it.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    slow.read_until(|tail| tail.dropped > 0);
    slow.tails.iter().for_each(assert_gapless);
    assert_small(&slow.agent);
}

/// Two seconds are its patience: until then docker waits, and nothing is lost.
#[test]
fn a_gateway_that_pauses_for_a_second_misses_nothing() {
    let mut slow = Slow::start();
    slow.read_until(|tail| tail.chunks > 0);
    sleep(Duration::from_secs(1)); // the pause
    slow.read_until(|tail| tail.chunks > 3);
    assert!(slow.tails.iter().all(|tail| tail.dropped == 0));
    slow.tails.iter().for_each(assert_gapless);
}

/// The kernel holds what is sent, and a pong waits behind it. A gateway waits 10 s for a pong.
#[test]
fn over_a_slow_link_a_pong_comes_in_time() {
    let setup = Setup::new();
    setup.docker(NEVER_PAUSES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let _tails = follow_all(&mut session);
    let start = Instant::now();
    let mut asked = None;
    loop {
        let frame = session.next_frame(Instant::now() + PATIENCE).expect("a frame");
        if frame.opcode == opcode::PONG {
            break;
        }
        // 200 kB a second.
        sleep(Duration::from_micros(5 * frame.payload.len() as u64));
        // All buffers are full by then.
        if asked.is_none() && start.elapsed() > Duration::from_secs(5) {
            asked = Some(Instant::now());
            session.send(&Frame::new(opcode::PING, "slow?"));
        }
    }
    let took = asked.expect("it was sent").elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_container_that_prints_nothing_wakes_nobody() {
    let setup = Setup::new();
    let mut printers: Vec<Printer> =
        (0..FOLLOWS).map(|number| Printer::new(&setup, &format!("c{number}"))).collect();
    setup.docker(BY_PIPES);
    let (_peer, agent, mut session) = Agent::registered(setup);
    let mut tails = follow_all(&mut session);
    for printer in &mut printers {
        printer.print("once");
    }
    while tails.iter().any(|tail| tail.lines.is_empty()) {
        let message = session.next_message();
        take(&mut tails, &message);
    }
    // The pass after the last line finds nothing.
    session.rest(Duration::from_millis(500));
    let before = agent.sleeps();
    session.rest(Duration::from_secs(2));
    let woken = agent.sleeps() - before;
    assert!(woken <= 2, "{woken} wake-ups");
}
