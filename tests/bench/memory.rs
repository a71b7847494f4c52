//! The most memory that the agent ever had resident, over TLS, for each way in which a docker or a
//! gateway could make it take too much.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::Group;
use crate::agent::{Agent, Docker};
use crate::fake;
use crate::figures::megabytes;
use crate::follow;
use crate::gateway::{Gateway, result};
use crate::support::{PATIENCE, Peer};
use crate::table::Row;
use crate::world::World;

pub const GROUPS: [Group; 10] = [
    Group { name: "memory: 5,000 lines", waits: false, rows: ordinary },
    Group { name: "memory: 32 large replies", waits: false, rows: large },
    Group { name: "memory: 32 replies of escapes", waits: false, rows: escapes },
    Group { name: "memory: a stream", waits: false, rows: stream },
    Group { name: "memory: 32 streams", waits: false, rows: streams },
    Group { name: "memory: an endless line", waits: false, rows: endless },
    Group { name: "memory: 32 long lines", waits: false, rows: long },
    Group { name: "memory: a slow gateway", waits: false, rows: slow },
    Group { name: "memory: 8 follows, a gateway that does not read", waits: false, rows: followed },
    Group { name: "memory: a gateway that never reads", waits: false, rows: unread },
];

const LIMIT: u64 = 5_000_000;
/// Where ids of the largest size wait for a gateway that never reads.
const UNREAD_LIMIT: u64 = 7_000_000;
/// All that may be in flight.
const PARALLEL: usize = 32;

fn ordinary(world: &World) -> Vec<Row> {
    row(world, "5,000 lines of 100 bytes", 3, |gateway| {
        gateway.fetch(fake::ORDINARY);
        assert_eq!(count(&result(&gateway.message().0)), 5000);
    })
}

fn large(world: &World) -> Vec<Row> {
    row(world, "32 replies of 1 MiB at once", 3, |gateway| {
        fetch(gateway, fake::BIG, PARALLEL);
        read_truncated(gateway, PARALLEL);
    })
}

fn escapes(world: &World) -> Vec<Row> {
    row(world, "the same, of control characters", 3, |gateway| {
        fetch(gateway, fake::ESCAPES, PARALLEL);
        read_truncated(gateway, PARALLEL);
    })
}

fn stream(world: &World) -> Vec<Row> {
    row(world, "a stream of 5,000 lines of 1 kB", 3, |gateway| read_streams(gateway, 1))
}

fn streams(world: &World) -> Vec<Row> {
    row(world, "32 such streams at once", 3, |gateway| read_streams(gateway, PARALLEL))
}

fn endless(world: &World) -> Vec<Row> {
    row(world, "a line of 100 MB", 1, |gateway| {
        gateway.fetch(fake::ENDLESS);
        read_cut(gateway);
    })
}

fn long(world: &World) -> Vec<Row> {
    row(world, "32 lines of 10 MB at once", 1, |gateway| {
        fetch(gateway, fake::LONG, PARALLEL);
        (0..PARALLEL).for_each(|_| read_cut(gateway));
    })
}

/// 16 replies wait while the gateway reads 64 KiB a second, from a socket that holds little.
fn slow(world: &World) -> Vec<Row> {
    let time = world.pick(Duration::from_secs(6), Duration::from_secs(2));
    row(world, "a gateway that reads 64 KiB a second", 1, |gateway| {
        fetch(gateway, fake::BIG, PARALLEL / 2);
        let slow_until = Instant::now() + time;
        while Instant::now() < slow_until {
            // At most 16 KiB.
            gateway.session.stream.fill(Instant::now() + PATIENCE).expect("the agent writes");
            sleep(Duration::from_millis(250));
        }
        read_truncated(gateway, PARALLEL / 2);
    })
}

/// 8 follows of busy containers go on while the gateway reads nothing.
fn followed(world: &World) -> Vec<Row> {
    let time = world.pick(Duration::from_secs(8), Duration::from_secs(4));
    row(world, "8 follows, a gateway that does not read", 1, |gateway| {
        follow::follow(gateway, fake::BUSY, follow::FOLLOWS);
        sleep(time);
        while !String::from_utf8_lossy(&gateway.message().0).contains("\"dropped\":") {}
    })
}

/// More requests than may be in flight, each with the longest id, for the largest replies.
fn unread(world: &World) -> Vec<Row> {
    const REQUESTS: usize = 40;
    let peaks = (0..world.pick(3, 1)).map(|_| {
        let (peer, url) = narrow_peer();
        let peer = peer.with_identity(&world.identity);
        let agent = Agent::start(world, &url, Docker::Fake);
        let mut gateway = Gateway::of(peer.accept_registered());
        let id = |number: usize| format!("{number:0>width$}", width = 16 * 1024 - 2);
        for number in 0..REQUESTS {
            let params = json!({"container": fake::BIG, "lines": 5000});
            gateway.request_as(&json!(id(number)), "logs_fetch", &params);
        }
        let peak = settled(&agent);
        // They were taken as they came: each is answered, those beyond what may be in flight too.
        let answers = (0..REQUESTS).map(|_| gateway.message().0);
        let mut ids: Vec<String> = answers.map(|answer| own_id(&answer)).collect();
        ids.sort();
        assert_eq!(ids, (0..REQUESTS).map(id).collect::<Vec<_>>(), "the ids that came back");
        peak
    });
    peak_row("40 ids of 16 KiB, a gateway that never reads", peaks.collect(), UNREAD_LIMIT)
}

/// The peak once it has not grown for some seconds, which is long before the heartbeat gives up.
fn settled(agent: &Agent) -> u64 {
    let (mut peak, mut since) = (agent.peak(), Instant::now());
    while since.elapsed() < Duration::from_secs(4) {
        sleep(Duration::from_millis(100));
        let now = agent.peak();
        if now > peak {
            (peak, since) = (now, Instant::now());
        }
    }
    peak
}

fn own_id(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).expect("JSON");
    answer["id"].as_str().expect("an id of ours").to_owned()
}

/// The worst of some runs, each with an agent of its own; `work` is what the agent is given to do.
fn row(world: &World, what: &str, runs: usize, work: impl Fn(&mut Gateway)) -> Vec<Row> {
    let peaks = (0..world.pick(runs, 1)).map(|_| {
        let (peer, url) = narrow_peer();
        let agent = Agent::start(world, &url, Docker::Fake);
        let dial = peer.accept_tcp().start_tls(&world.identity).expect("a handshake");
        let mut session = dial.switch();
        session.read_register();
        session.acknowledge();
        work(&mut Gateway::of(session));
        agent.peak()
    });
    peak_row(what, peaks.collect(), LIMIT)
}

fn peak_row(what: &str, peaks: Vec<u64>, limit: u64) -> Vec<Row> {
    let (least, most) = (peaks.iter().min().unwrap_or(&0), *peaks.iter().max().unwrap_or(&0));
    let range = if peaks.len() > 1 { format!(" (least {})", megabytes(*least)) } else { "".into() };
    let measured = format!("{}{range}", megabytes(most));
    let promise = format!("≤ {} MB", limit / 1_000_000);
    vec![Row::judged(&format!("peak memory: {what}"), measured, &promise, most <= limit)]
}

/// A listener whose connections hold little, so that what is not read stays with the agent.
fn narrow_peer() -> (Peer, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("sockets can be made");
    socket.set_recv_buffer_size(32 * 1024).expect("a size");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    socket.listen(8).expect("it is bound");
    let peer = Peer::on(socket.into());
    let url = format!("wss://127.0.0.1:{}/api/daemon", peer.port());
    (peer, url)
}

fn fetch(gateway: &mut Gateway, container: &str, times: usize) {
    for _ in 0..times {
        gateway.fetch(container);
    }
}

fn read_truncated(gateway: &mut Gateway, replies: usize) {
    for _ in 0..replies {
        let (text, _) = gateway.message();
        let reply = result(&text);
        assert!(reply["truncated"] == true && text.len() > 1_000_000, "a reply of 1 MiB");
    }
}

/// A reply of one line that was cut.
fn read_cut(gateway: &mut Gateway) {
    let reply = result(&gateway.message().0);
    assert_eq!((count(&reply), &reply["truncated"]), (1, &json!(true)));
}

/// Asks for streams of 5,000 lines and reads each to its end.
fn read_streams(gateway: &mut Gateway, streams: usize) {
    let params = json!({"container": fake::KILOBYTES, "lines": 5000, "stream": true});
    for _ in 0..streams {
        gateway.request("logs_fetch", params.clone());
    }
    let (mut lines, mut ended) = (0, 0);
    while ended < streams {
        let message: Value = serde_json::from_slice(&gateway.message().0).expect("JSON");
        if message["method"] == "logs_chunk" {
            lines += count(&message["params"]);
        } else {
            assert_eq!(message["result"]["streamed"], 5000, "{message}");
            ended += 1;
        }
    }
    assert_eq!(lines, 5000 * streams, "the lines that came");
}

fn count(object: &Value) -> usize {
    object["lines"].as_array().map_or(0, Vec::len)
}
