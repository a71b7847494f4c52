//! How long whole requests take: `metrics_collect` and `logs_fetch` on the real docker, and the small
//! ones that need none.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, Docker};
use crate::docker::{Containers, LINES};
use crate::figures::{Figures, Ratios, milliseconds};
use crate::gateway::{Gateway, result};
use crate::support::Peer;
use crate::table::Row;
use crate::world::World;

pub fn metrics(world: &World) -> Vec<Row> {
    let (what, promise) = ("metrics_collect", "≤ 1050 ms");
    if let Err(reason) = &world.containers {
        return vec![Row::missed(what, promise, reason)];
    }
    let (_agent, mut gateway) = connected(world);
    let mut collect = || {
        let (sent, _) = gateway.request("metrics_collect", Value::Null);
        let (text, at) = gateway.message();
        let snapshot = result(&text);
        assert!(snapshot["container_count"].as_u64() >= Some(2), "a whole snapshot: {snapshot}");
        // The notification of the same snapshot.
        gateway.message();
        at - sent
    };
    let figures = Figures::of((0..world.pick(7, 2)).map(|_| collect()));
    let kept = figures.median() <= Duration::from_millis(1050);
    vec![Row::judged(what, figures.to_string(), promise, kept)]
}

/// In turns with docker itself, so that both see the machine in the same mood.
pub fn logs(world: &World) -> Vec<Row> {
    let (what, promise) = ("logs_fetch of 5,000 lines / docker logs itself", "≤ 1.40");
    let Containers { lines } = match &world.containers {
        Ok(containers) => containers,
        Err(reason) => return vec![Row::missed(what, promise, reason)],
    };
    let (agent, mut gateway) = connected(world);
    let mut fetch = || {
        let (sent, _) = gateway.fetch(lines);
        let (text, at) = gateway.message();
        let reply = result(&text);
        assert_eq!(reply["lines"].as_array().map(Vec::len), Some(LINES), "the lines that came");
        at - sent
    };
    let (before, count) = (agent.cpu_time(), world.pick(31, 3));
    let pairs: Vec<_> = (0..count).map(|_| (print(lines), fetch())).collect();
    let cpu_time = milliseconds((agent.cpu_time() - before) / count);
    let itself = Figures::of(pairs.iter().map(|(print, _)| *print));
    let fetched = Figures::of(pairs.iter().map(|(_, fetch)| *fetch));
    let ratio = Ratios::of(pairs.iter().map(|(print, fetch)| (*fetch, *print)));
    vec![
        Row::told("docker logs -t --tail 5000", itself.to_string()),
        Row::told(
            "logs_fetch of 5,000 lines",
            format!("{fetched}, {cpu_time} ms of the agent's processor time"),
        ),
        Row::judged(what, ratio.to_string(), promise, ratio.median() <= 1.4),
    ]
}

/// The processor time that a thousand requests cost, asked one after the other.
pub fn small(world: &World) -> Vec<Row> {
    let (agent, mut gateway) = connected(world);
    let mut ask = || {
        let (sent, _) = gateway.request("vmkit_test_no_such_method", Value::Null);
        gateway.message().1 - sent
    };
    ask();
    let before = agent.cpu_time();
    let count = world.pick(3000, 300);
    let figures = Figures::of((0..count).map(|_| ask()));
    let time = (agent.cpu_time() - before) * 1000 / count;
    vec![Row::told(
        "processor time of 1,000 small requests",
        format!("{} ms, each answered in {figures}", milliseconds(time)),
    )]
}

/// How long `docker logs` takes by itself, its output read.
fn print(container: &str) -> Duration {
    let mut command = Command::new("docker");
    command.args(["logs", "-t", "--tail", &LINES.to_string(), container]).stdin(Stdio::null());
    let started = Instant::now();
    let output = command.output().expect("docker is installed");
    let took = started.elapsed();
    assert!(output.status.success(), "docker logs: {}", output.status);
    took
}

fn connected(world: &World) -> (Agent, Gateway) {
    let peer = Peer::tls(&world.identity);
    let agent = Agent::start(world, &peer.url(), Docker::Real);
    (agent, Gateway::of(peer.accept_registered()))
}
