//! The bench: every number that the agent promises, measured on the release binary and printed as one
//! table. Its status is 1 if a promise was missed.
//!
//! `AGENT` in the environment names the binary, `GATEWAY` the reference gateway's. What only waits (the idle agent, the reconnect storms)
//! runs beside everything else, in threads of its own. The fleet comes last, alone.

#![forbid(unsafe_code)]

mod agent;
mod docker;
mod fake;
mod figures;
mod fleet;
mod gateway;
mod table;
mod workplace;
mod world;

mod dial;
mod download;
mod follow;
mod latency;
mod memory;
mod requests;
mod rest;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;

use table::{Row, Table};
use vmkit_test_support as support;
use world::World;

const USAGE: &str = "\
usage: AGENT=<the agent's binary> GATEWAY=<the gateway's> bench [--quick] [WORD...]
  --quick   fewer runs and shorter waits: a smoke run, not a measurement
  WORD      only what has one of these in its name: idle, storm, ping, follow,
            logs_fetch, download, memory, fleet";

/// What is measured together.
struct Group {
    name: &'static str,
    /// It takes time, not the processor: it runs beside the others.
    waits: bool,
    rows: fn(&World) -> Vec<Row>,
}

/// In the order of the table.
const GROUPS: [Group; 15] = [
    Group { name: "size", waits: false, rows: rest::size },
    Group { name: "idle over TLS", waits: true, rows: rest::idle },
    Group { name: "exec to register", waits: false, rows: dial::start },
    Group { name: "SIGTERM to exit", waits: false, rows: dial::stop },
    Group { name: "reconnect storm", waits: true, rows: dial::storm_of_accepts },
    Group { name: "reconnect storm", waits: true, rows: dial::storm_of_sessions },
    Group { name: "ping to pong", waits: false, rows: latency::idle },
    Group { name: "ping to pong during logs_fetch", waits: false, rows: latency::during_logs },
    Group { name: "ping to pong while docker hangs", waits: false, rows: latency::during_hang },
    Group { name: "ping to pong during 8 follows", waits: false, rows: follow::busy },
    Group { name: "a followed line", waits: false, rows: follow::line },
    Group { name: "metrics_collect", waits: false, rows: requests::metrics },
    Group { name: "logs_fetch", waits: false, rows: requests::logs },
    Group { name: "small requests", waits: false, rows: requests::small },
    Group { name: "download", waits: false, rows: download::speed },
];

const LAST: [Group; 1] = [Group { name: "fleet", waits: false, rows: fleet::rows }];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((fleet::CHILD, rest)) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return fleet::child(rest);
    }
    let mut quick = false;
    let mut words = Vec::new();
    for argument in &arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            word if !word.starts_with('-') => words.push(word.to_owned()),
            other => return usage(&format!("no such option: {other}")),
        }
    }
    let wanted = |group: &&Group| {
        words.is_empty() || words.iter().any(|word| group.name.contains(word.as_str()))
    };
    let groups: Vec<&Group> =
        GROUPS.iter().chain(&memory::GROUPS).chain(&LAST).filter(wanted).collect();
    if groups.is_empty() {
        return usage("nothing has such a name");
    }
    match World::new(quick) {
        Ok(world) => {
            let table = measure(&world, &groups);
            println!("{table}");
            if table.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("bench: {error}\n{USAGE}");
    ExitCode::from(2)
}

fn measure(world: &World, groups: &[&Group]) -> Table {
    let mut table = Table::about(world);
    thread::scope(|scope| {
        let mut beside: Vec<_> = groups
            .iter()
            .map(|group| group.waits.then(|| scope.spawn(|| run(group, world))))
            .collect();
        let now: Vec<_> = groups
            .iter()
            .map(|group| (!group.waits).then(|| table.progress(group.name, || run(group, world))))
            .collect();
        for (rows, thread) in now.into_iter().zip(&mut beside) {
            let waited = thread.take().map(|thread| thread.join().expect("it catches its panics"));
            table.rows.extend(rows.or(waited).into_iter().flatten());
        }
    });
    table.finish();
    table
}

/// A group that fails in the middle is one row, missed.
fn run(group: &Group, world: &World) -> Vec<Row> {
    catch_unwind(AssertUnwindSafe(|| (group.rows)(world)))
        .unwrap_or_else(|panic| vec![Row::missed(group.name, "", &words(&*panic))])
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    let first = text.lines().next().unwrap_or_default();
    format!("failed: {}", first.chars().take(120).collect::<String>())
}
