//! The reference gateway with a fleet: 10,000 light agents over TLS, each polled every minute; reads by
//! REST meanwhile; and the storm in which all come back after the gateway was killed.
//!
//! - `gateway` the gateway's process, and what it costs; `swarm` the agents' process, seen from here
//! - `light`, `frames`, `snapshot` an agent; `reader` a user of REST; `tls` the way in

mod frames;
mod gateway;
mod light;
mod reader;
mod snapshot;
mod swarm;
mod tls;

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::figures::{kilobytes, megabytes, milliseconds};
use crate::table::Row;
use crate::world::World;
use gateway::{Cost, Gateway};
use swarm::Swarm;

pub use swarm::{CHILD, child};

/// Beside a socket for each agent.
const DESCRIPTORS: u64 = 500;
/// For all agents to come; a machine that does nothing else takes seconds.
const PATIENCE: Duration = Duration::from_secs(300);
const FIRST_POLLS: Duration = Duration::from_secs(5);
/// Of the database, for an instance: what the gateway promises with 30 days of history.
const BUDGET: u64 = 90_000;
const READ_LIMIT: Duration = Duration::from_millis(20);

pub fn rows(world: &World) -> Vec<Row> {
    let agents: usize = world.pick(10_000, 500);
    // Two rounds of polls, and what a round may be late.
    let window = world.pick(Duration::from_secs(125), Duration::from_secs(65));
    raise_descriptors(agents as u64 + DESCRIPTORS);
    let mut gateway = Gateway::start(world);
    let empty = gateway.cost();
    let started = Instant::now();
    let mut swarm = Swarm::start(world, &gateway, agents);
    swarm.wait_until_registered(PATIENCE);
    let came = started.elapsed();
    // Each new agent is polled at once, and answers after a second.
    sleep(FIRST_POLLS);

    let (before, polls_before) = (gateway.cost(), swarm.report());
    let reads = reader::read_for(&gateway, agents, window);
    let (after, polls_after) = (gateway.cost(), swarm.report());
    let database = gateway.database_bytes();

    let killed = gateway.kill_and_start_again();
    swarm.wait_until_registered(PATIENCE);
    let returned = killed.elapsed();

    let minutes = (after.at - before.at).as_secs_f64() / 60.0;
    let mut rows = vec![
        Row::told(&format!("fleet: {agents} new agents connect at once, TLS"), seconds(came)),
        Row::told("fleet: the gateway is killed; until all are back", seconds(returned)),
    ];
    rows.extend(costs([&empty, &before, &after], agents, minutes));
    let each = database / agents as u64;
    let what = "fleet: database, for each instance";
    rows.push(Row::judged(what, kilobytes(each), "≤ 90 kB", each <= BUDGET));
    let lost = polls_after.lost - polls_before.lost;
    rows.push(Row::judged("fleet: sessions lost under load", lost.to_string(), "0", lost == 0));
    let rounds = window.as_secs() / 60;
    let (least, most) = swarm.polls_between(&polls_before, &polls_after);
    let what = format!("fleet: polls of each agent in {} s", window.as_secs());
    let promise = format!("{rounds}–{}", rounds + 1);
    let kept = least >= rounds && most <= rounds + 1;
    rows.push(Row::judged(&what, format!("{least}–{most}"), &promise, kept));
    let (middle, high) = (reads.times.percentile(50), reads.times.percentile(99));
    let measured = format!("{}, {} ms", milliseconds(middle), milliseconds(high));
    let kept = high < READ_LIMIT && reads.failed == 0;
    rows.push(Row::judged("fleet: REST read of an instance, p50, p99", measured, "< 20 ms", kept));
    let failed = reads.failed.to_string();
    rows.push(Row::judged("fleet: REST reads that failed", failed, "0", reads.failed == 0));
    rows
}

fn costs([empty, before, after]: [&Cost; 3], agents: usize, minutes: f64) -> Vec<Row> {
    let each = after.resident.saturating_sub(empty.resident) / agents as u64;
    let memory = format!("{}, {} each", megabytes(after.resident), kilobytes(each));
    let processor = (after.processor - before.processor).as_secs_f64() * 1000.0;
    let processor = processor / minutes / agents as f64;
    let written = (after.written - before.written) as f64 / minutes;
    vec![
        Row::told("fleet: memory of the gateway", memory),
        Row::told("fleet: its processor time, an agent and minute", format!("{processor:.2} ms")),
        Row::told("fleet: it writes to the disk, a minute", megabytes(written as u64)),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// For this process and those that it starts.
fn raise_descriptors(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    assert!(
        limit.maximum.is_none_or(|most| most >= needed),
        "{needed} open files are needed: raise the hard limit (ulimit -Hn)"
    );
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("within the hard limit");
    let was = limit.current.unwrap_or(0);
    eprintln!("bench: raised the limit of open files from {was} to {needed}, for the fleet");
}
