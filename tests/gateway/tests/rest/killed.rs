//! kill -9 at any moment, and a disk that is full: no event that anybody has seen is lost, at most the
//! last second of history is, and the database is sound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::agent::{register, snapshot};
use crate::support::client::Stream;
use crate::support::gateway::{Folder, start_and_kill};
use crate::support::{Agent, Client, Gateway, eventually};

const GATEWAYS: usize = 3;
const LIVES: usize = 8;
/// Of a life, once it listens.
const LONGEST: Duration = Duration::from_millis(2000);
/// What may be lost: a second, and the time that a busy disk takes to write it.
const LOST: Duration = Duration::from_millis(1000 + 1000);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By id, as they were shown.
    events: BTreeMap<i64, Value>,
    /// When the snapshot with this number was sent, in this life.
    sent: BTreeMap<u64, Instant>,
    /// The number of the last one that must be kept.
    kept: u64,
    last: u64,
}

fn random(below: Duration) -> Duration {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    Duration::from_micros(u64::from_le_bytes(bytes) % below.as_micros() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_survives_every_kill() {
    let lives = (0..GATEWAYS).map(|_| tokio::spawn(die_often()));
    let (mut events, mut kept) = (0, 0);
    for life in lives.collect::<Vec<_>>() {
        let seen = life.await.expect("nothing was lost");
        let state = seen.0.lock();
        println!("{} events seen, {} snapshots sent", state.events.len(), state.last);
        events += state.events.len();
        kept += state.kept;
    }
    assert!(events > 30 && kept > 30, "{events} events, {kept} snapshots: too few to tell");
}

async fn die_often() -> Seen {
    let folder = Folder::new();
    let (key, token) = (folder.keys.api("read,logs,operate"), folder.keys.agent(None));
    let seen = Seen::default();
    for life in 0..LIVES {
        // Some die while they start.
        if life % 3 == 2 {
            start_and_kill(&folder, random(Duration::from_millis(100)));
            assert_sound(&folder.data(), folder.path());
        }
        let gateway = Gateway::start_in(folder.clone(), key.clone(), token.clone(), &[]).await;
        check(&gateway.client(), &seen).await;
        // An event takes everything that waits to the disk with it: every other life has none.
        let quiet = life % 2 == 1;
        let players = play(&gateway, &seen, quiet);
        let least = if quiet { LOST } else { Duration::ZERO };
        sleep(least + random(LONGEST)).await;
        gateway.kill();
        seen.died(Instant::now());
        players.iter().for_each(JoinHandle::abort);
        assert_sound(&folder.data(), folder.path());
    }
    let gateway = Gateway::start_in(folder.clone(), key, token, &[]).await;
    check(&gateway.client(), &seen).await;
    seen
}

/// Agents that come and go, one that sends snapshots, and clients that look at everything.
fn play(gateway: &Gateway, seen: &Seen, quiet: bool) -> Vec<JoinHandle<()>> {
    // What a player needs of a gateway that is killed meanwhile.
    let (address, token, client) =
        (gateway.address().to_owned(), gateway.token.clone(), gateway.client());
    let mut players = Vec::new();
    let flapping = if quiet { &[][..] } else { &["flap-1", "flap-2"] };
    for &name in flapping {
        let (address, token) = (address.clone(), token.clone());
        players.push(tokio::spawn(async move {
            while let Ok(mut agent) = Agent::connect_to(&address, &token).await {
                agent.register(register(name)).await;
                sleep(Duration::from_millis(30)).await;
            }
        }));
    }
    let steady_seen = seen.clone();
    players.push(tokio::spawn(async move {
        let Ok(mut agent) = Agent::connect_to(&address, &token).await else { return };
        agent.register(register("steady")).await;
        let last = steady_seen.0.lock().last;
        for number in last + 1.. {
            let mut snapshot = snapshot(1.0);
            snapshot["container_count"] = json!(number);
            agent.notify("health_snapshot", snapshot);
            steady_seen.sent(number);
            sleep(Duration::from_millis(20)).await;
        }
    }));
    let (pages, pages_seen) = (client.clone(), seen.clone());
    players.push(tokio::spawn(async move {
        while let Ok(answer) = pages.request(Method::GET, "/api/events?limit=1000").send().await {
            let page: Value = answer.json().await.unwrap_or_default();
            page["events"].as_array().into_iter().flatten().for_each(|event| pages_seen.add(event));
            sleep(Duration::from_millis(50)).await;
        }
    }));
    let live_seen = seen.clone();
    players.push(tokio::spawn(async move {
        let live = client.request(Method::GET, "/api/events?after=0");
        let Some(mut stream) = Stream::of_any(live.header("accept", "text/event-stream")).await
        else {
            return;
        };
        while let Some(message) = stream.next_or_end().await {
            live_seen.add(&message.data);
        }
    }));
    players
}

impl Seen {
    fn add(&self, event: &Value) {
        let id = event["id"].as_i64().expect("an event has an id");
        let before = self.0.lock().events.insert(id, event.clone());
        assert!(before.is_none_or(|before| before == *event), "it was told in two ways: {event}");
    }

    fn sent(&self, number: u64) {
        let mut state = self.0.lock();
        state.sent.insert(number, Instant::now());
        state.last = number;
    }

    /// What was sent so late may be lost, however long the next life is.
    fn died(&self, now: Instant) {
        let mut state = self.0.lock();
        let sent = std::mem::take(&mut state.sent);
        let kept = sent.iter().rev().find(|(_, sent)| **sent + LOST < now);
        state.kept = kept.map_or(state.kept, |(number, _)| *number);
    }
}

async fn check(client: &Client, seen: &Seen) {
    let mut stored = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = client.json(&format!("/api/events?limit=1000&after={after}")).await;
        let Some(last) = page["events"].as_array().and_then(|events| events.last()) else { break };
        after = last["id"].as_i64().unwrap();
        let events = page["events"].as_array().unwrap().iter();
        stored.extend(events.map(|event| (event["id"].as_i64().unwrap(), event.clone())));
    }
    let (events, wanted) = {
        let seen = seen.0.lock();
        (seen.events.clone(), seen.kept)
    };
    // Of each instance a thousand are kept, and these tell fewer.
    for (id, event) in events {
        assert_eq!(stored.get(&id), Some(&event), "an event was shown and is lost");
    }
    if wanted == 0 {
        return;
    }
    let shown = client.json("/api/instances/steady").await;
    let kept = shown["metrics"]["container_count"].as_u64().unwrap_or(0);
    assert!(kept >= wanted, "snapshot {kept} is the last that is kept, and {wanted} was before it");
    let history = client.json("/api/instances/steady/history").await;
    let counts = history["container_count"]["mean"].as_array().unwrap();
    let last = counts.iter().rev().find_map(Value::as_f64).unwrap_or(0.0);
    assert!(last >= wanted as f64, "{last} is the last of the history, and {wanted} was before it");
}

/// As the next start finds it, on a copy: looking changes it.
fn assert_sound(data: &Path, scratch: &Path) {
    let copy = tempfile::tempdir_in(scratch).unwrap();
    for name in ["gateway.db", "gateway.db-wal"] {
        let _ = fs::copy(data.join(name), copy.path().join(name));
    }
    let database = Connection::open(copy.path().join("gateway.db")).unwrap();
    let check: String =
        database.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// On a small disk of its own, that nobody else sees.
async fn start_on_small_disk() -> (Gateway, PathBuf) {
    let folder = Folder::new();
    let (key, token) = (folder.keys.api("read,logs,operate"), folder.keys.agent(None));
    let data = folder.data();
    let (data, copy) = (data.display(), folder.path().join("copy").display().to_string());
    let disk = format!(
        "set -e; cp -a {data} {copy}; mount -t tmpfs -o size=8m,mode=700 tmpfs {data}; \
         cp -a {copy}/. {data}; exec \"$@\""
    );
    let script = format!("exec unshare --mount sh -c '{disk}' sh \"$@\"");
    let gateway = Gateway::start_by(folder.clone(), key, token, &script).await;
    let seen_from_here =
        PathBuf::from(format!("/proc/{}/root{}", gateway.pid(), folder.data().display()));
    (gateway, seen_from_here)
}

fn fill(data: &Path) -> PathBuf {
    let filler = data.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let chunk = [0; 4096];
    while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    filler
}

/// Instances register until the gateway says that its disk is full.
async fn until_full(gateway: &Gateway, name: &str) -> Vec<Agent> {
    let mut agents = Vec::new();
    for n in 0..400 {
        agents.push(Agent::start(gateway, &format!("{name}-{n}")).await);
        if gateway.log().iter().any(|line| line.contains("full") && line.contains("ERROR")) {
            return agents;
        }
    }
    panic!("the disk is full and nobody says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_costs_nothing_that_was_stored() {
    let (mut gateway, data) = start_on_small_disk().await;
    let client = gateway.client();
    let agent = Agent::start(&gateway, "web-1").await;
    agent.snapshot(12.5);
    eventually("the snapshot is stored", async || {
        let history = client.json("/api/instances/web-1/history").await;
        history["cpu_pct"]["mean"].as_array().unwrap().contains(&json!(12.5)).then_some(())
    })
    .await;
    let before = client.json("/api/events?after=0").await;

    let filler = fill(&data);
    let mut agents = until_full(&gateway, "more").await;
    // REST reads on, and knows what happens now.
    let last = agents.last().unwrap().id.clone();
    assert_eq!(client.json(&format!("/api/instances/{last}")).await["agent_connected"], true);
    assert_eq!(client.json("/api/instances/web-1").await["metrics"]["cpu_pct"], 12.5);
    let events = client.json("/api/events?after=0&limit=1000").await;
    let (told, known) =
        (events["events"].as_array().unwrap(), before["events"].as_array().unwrap());
    assert_eq!(told[..known.len()], known[..]);
    let is_told = |events: &Value| {
        events["events"].as_array().unwrap().iter().any(|event| event["instance"] == last.as_str())
    };
    assert!(!is_told(&events), "what is not on the disk is not told");
    // A new key finds no place, and that is said in one line.
    let mut token = Command::new("nsenter");
    token.args(["--mount", "--target", &gateway.pid().to_string()]);
    token.args([env!("CARGO_BIN_EXE_gateway"), "token", "add", "--name", "x", "--scopes", "read"]);
    let output = token.arg("--data").arg(gateway.folder().data()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("full") && said.lines().count() == 1, "{said}");

    // With room again nothing is missing.
    fs::remove_file(filler).unwrap();
    let is_stored = async || {
        let events = client.json(&format!("/api/instances/{last}/events")).await;
        is_told(&events).then_some(())
    };
    eventually("what waited is stored", is_stored).await;
    assert_sound(&data, gateway.folder().path());

    // Full again: it still ends when it is told to.
    fill(&data);
    agents.extend(until_full(&gateway, "again").await);
    agents.clear();
    let took = gateway.end();
    assert!(took < Duration::from_secs(8), "{took:?}");
    gateway.logged(&["can't be stored and is lost", "full"]).await;
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said_so() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).unwrap();
    let data = folder.data().display().to_string();
    // A file system's own entry, which the gateway passes over.
    let filler = format!("{data}/lost+found");
    let disk = format!(
        "set -e; mount -t tmpfs -o size=64k,mode=700 tmpfs {data}; \
         head -c 1M /dev/zero > {filler} 2>/dev/null || :; exec \"$@\""
    );
    let mut gateway = Command::new("unshare");
    gateway.args(["--mount", "sh", "-c", &disk, "sh", env!("CARGO_BIN_EXE_gateway"), "--data"]);
    let output = gateway.arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&data) && said.contains("full"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
