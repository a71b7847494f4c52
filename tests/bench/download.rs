//! An upgrade's download, verified while it streams, against curl and sha256sum on the same file.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::{Figures, Ratios};
use crate::support::{Download, Server};
use crate::table::Row;
use crate::workplace::{MARK, starting};
use crate::world::World;

const SIZE: usize = 100 << 20;

/// The file is no binary: the upgrade ends at its test, and nothing is replaced.
pub fn speed(world: &World) -> Vec<Row> {
    let server = Server::plain();
    let content: Vec<u8> = (0..SIZE).map(|index| (index * 31 % 251) as u8).collect();
    let url = server.offer("agent", content, Download::Whole);
    let agent = world.place.next_path();
    // By another program, which has closed the file before it is executed.
    shell(world, &format!("install -m 755 '{}' '{}'", world.agent.display(), agent.display()));
    let file = world.place.next_path();
    let curl = format!("curl -sS -o '{0}' '{url}' && sha256sum '{0}'", file.display());
    let sum = shell(world, &curl)[..64].to_owned();
    let mut pairs = Vec::new();
    for _ in 0..world.pick(7, 2) {
        let started = Instant::now();
        shell(world, &curl);
        let theirs = started.elapsed();
        pairs.push((theirs, verified(world, &agent.display().to_string(), &url, &sum)));
    }
    let theirs = Figures::of(pairs.iter().map(|(theirs, _)| *theirs));
    let ours = Figures::of(pairs.iter().map(|(_, ours)| *ours));
    let speed = Ratios::of(pairs);
    vec![
        Row::told("curl -o and sha256sum of 100 MiB", theirs.to_string()),
        Row::told("the upgrader's download of 100 MiB, verified", ours.to_string()),
        Row::judged(
            "its speed / that of curl and sha256sum",
            speed.to_string(),
            "≥ 0.9",
            speed.median() >= 0.9,
        ),
    ]
}

/// From the start of the upgrader until it has verified the checksum.
fn verified(world: &World, agent: &str, url: &str, sum: &str) -> Duration {
    let version = format!("bench{}", std::process::id());
    let state = world.place.path().join("state");
    let started = Instant::now();
    let mut upgrader = {
        let _starting = starting();
        Command::new(agent)
            .args(["upgrade", "--url", url, "--sha256", sum, "--version", &version])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("STATE_DIRECTORY", state)
            .env(MARK, world.place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("AGENT runs")
    };
    let story = BufReader::new(upgrader.stdout.take().expect("a pipe"));
    let mut took = None;
    for line in story.lines().map_while(Result::ok) {
        if line.contains("verified") {
            took = Some(started.elapsed());
        }
    }
    upgrader.wait().expect("our child");
    took.expect("the upgrader says that it has verified the checksum")
}

fn shell(world: &World, script: &str) -> String {
    let _starting = starting();
    let output = Command::new("sh").args(["-c", script]).env(MARK, world.place.path()).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
