//! How soon a ping has its pong: idle, while a large reply is made and sent, while docker hangs.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, Docker};
use crate::docker::Containers;
use crate::fake;
use crate::figures::{Figures, milliseconds};
use crate::gateway::{Gateway, Heard, result};
use crate::support::Peer;
use crate::table::Row;
use crate::world::World;

const LIMIT: Duration = Duration::from_millis(40);
const PROMISE: &str = "p99 < 40 ms";

pub fn idle(world: &World) -> Vec<Row> {
    let (_agent, mut gateway) = connected(world, Docker::Real);
    let pings = (0..world.pick(500, 50)).map(|_| {
        sleep(Duration::from_millis(3));
        let sent = gateway.ping();
        gateway.pong() - sent
    });
    vec![row("ping to pong, idle", &Figures::of(pings))]
}

pub fn during_logs(world: &World) -> Vec<Row> {
    let what = "ping to pong, during logs_fetch of 5,000 lines";
    let Containers { lines } = match &world.containers {
        Ok(containers) => containers,
        Err(reason) => return vec![Row::missed(what, PROMISE, reason)],
    };
    let (_agent, mut gateway) = connected(world, Docker::Real);
    let mut pings = Vec::new();
    for _ in 0..world.pick(20, 3) {
        gateway.fetch(lines);
        let mut reply = None;
        while reply.is_none() {
            let sent = gateway.ping();
            loop {
                match gateway.hear() {
                    Heard::Pong { at } => {
                        pings.push(at - sent);
                        break;
                    }
                    Heard::Message { text, .. } => reply = Some(text),
                    Heard::Close { code, .. } => panic!("the agent closed the session: {code}"),
                }
            }
            sleep(Duration::from_millis(1));
        }
        let reply = result(&reply.unwrap_or_default());
        assert_eq!(reply["lines"].as_array().map(Vec::len), Some(5000), "the lines that came");
    }
    vec![row(what, &Figures::of(pings))]
}

/// Half of the requests that may be in flight hang; each is started between two pings.
pub fn during_hang(world: &World) -> Vec<Row> {
    let (_agent, mut gateway) = connected(world, Docker::Fake);
    gateway.request("metrics_collect", Value::Null);
    let mut pings = Vec::new();
    for round in 0..world.pick(16, 4) {
        gateway.fetch(fake::HANGING);
        for _ in 0..25 {
            let sent = gateway.ping();
            pings.push(gateway.pong() - sent);
            sleep(Duration::from_millis(3));
        }
        let (_, id) = gateway.request("vmkit_test_no_such_method", Value::Null);
        let (text, _) = gateway.message();
        let message: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(message["id"], id, "others are served while {round} hang: {message}");
    }
    vec![row("ping to pong, while docker hangs", &Figures::of(pings))]
}

fn connected(world: &World, docker: Docker) -> (Agent, Gateway) {
    let peer = Peer::tls(&world.identity);
    let agent = Agent::start(world, &peer.url(), docker);
    (agent, Gateway::of(peer.accept_registered()))
}

fn row(what: &str, figures: &Figures) -> Row {
    let [p50, p99, most] =
        [figures.median(), figures.percentile(99), figures.most()].map(milliseconds);
    let measured = format!("p50 {p50} ms, p99 {p99} ms, max {most} ms");
    Row::judged(what, measured, PROMISE, figures.percentile(99) < LIMIT)
}
