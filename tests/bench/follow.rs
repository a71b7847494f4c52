//! Eight follows at once, of containers that print as fast as they are read: what else the gateway asks
//! for has to come as soon as ever.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Docker};
use crate::fake;
use crate::figures::{Figures, milliseconds};
use crate::gateway::{Gateway, Heard};
use crate::support::Peer;
use crate::table::Row;
use crate::world::World;

pub const FOLLOWS: usize = 8;

/// Pings and requests in turns, with lines in between.
pub fn busy(world: &World) -> Vec<Row> {
    let (agent, mut gateway) = connected(world);
    follow(&mut gateway, fake::BUSY, FOLLOWS);
    let mut bytes = 0;
    let (mut pongs, mut answers) = (Vec::new(), Vec::new());
    let (started, cpu_time) = (Instant::now(), agent.cpu_time());
    while started.elapsed() < world.pick(Duration::from_secs(8), Duration::from_secs(1)) {
        let sent = gateway.ping();
        loop {
            match gateway.hear() {
                Heard::Pong { at } => break pongs.push(at - sent),
                Heard::Message { text, .. } => bytes += text.len(),
                Heard::Close { code, .. } => panic!("the agent closed the session: {code}"),
            }
        }
        let (sent, _) = gateway.request("vmkit_test_no_such_method", Value::Null);
        loop {
            let (text, at) = gateway.message();
            match text.len() {
                ..1000 => break answers.push(at - sent),
                length => bytes += length,
            }
        }
        sleep(Duration::from_millis(2));
    }
    let (took, cpu_time) = (started.elapsed(), agent.cpu_time() - cpu_time);
    let share = 100.0 * cpu_time.as_secs_f64() / took.as_secs_f64();
    let rate = bytes as f64 / took.as_secs_f64() / 1e6;
    vec![
        row("ping to pong, during 8 follows of busy containers", &Figures::of(pongs)),
        row("a small request, during 8 follows of busy containers", &Figures::of(answers)),
        Row::told(
            "8 follows of busy containers",
            format!("{rate:.1} MB/s of lines, {share:.0} % of a processor"),
        ),
    ]
}

/// From when a container's line is printed until the gateway has read it.
pub fn line(world: &World) -> Vec<Row> {
    let (_agent, mut gateway) = connected(world);
    let pipe = world.place.path().join(fake::PIPED);
    // To read too: so the opening does not wait for docker.
    let mut pipe = OpenOptions::new().read(true).write(true).open(pipe).expect("it was made");
    follow(&mut gateway, fake::PIPED, 1);
    let mut print = |number: u32| {
        let printed = Instant::now();
        writeln!(pipe, "2026-01-01T00:00:00.{number:09}Z a line").expect("docker reads");
        gateway.message().1 - printed
    };
    print(0);
    let figures = Figures::of((1..world.pick(100, 10)).map(print));
    let what = "a line that is followed, from docker to the gateway";
    vec![Row::judged(
        what,
        figures.to_string(),
        "≤ 250 ms",
        figures.most() <= Duration::from_millis(250),
    )]
}

pub fn follow(gateway: &mut Gateway, container: &str, times: usize) {
    for _ in 0..times {
        gateway.request("logs_fetch", json!({"container": container, "follow": true}));
    }
}

fn connected(world: &World) -> (Agent, Gateway) {
    let peer = Peer::tls(&world.identity);
    let agent = Agent::start(world, &peer.url(), Docker::Fake);
    (agent, Gateway::of(peer.accept_registered()))
}

fn row(what: &str, figures: &Figures) -> Row {
    let [p50, p99, most] =
        [figures.median(), figures.percentile(99), figures.most()].map(milliseconds);
    let measured = format!("p50 {p50} ms, p99 {p99} ms, max {most} ms");
    let kept = figures.percentile(99) < Duration::from_millis(10);
    Row::judged(what, measured, "p99 < 10 ms", kept)
}
