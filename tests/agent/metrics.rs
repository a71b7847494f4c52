//! `metrics_collect`: its numbers, held against the same read by other means around the sample.

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Agent, Container, NO_CONTAINERS, PATIENCE, Peer, Session, Setup, docker, poll_until,
};

/// The machine is shared with other tests: how often a quiet moment may be looked for.
const TRIES: usize = 20;

/// A snapshot; the notification with the same object comes right behind it.
#[track_caller]
fn collect(session: &mut Session) -> Value {
    session.send_request(1, "metrics_collect", Value::Null);
    let mut message = session.next_message();
    assert_eq!(message["id"], 1, "{message}");
    let snapshot = message["result"].take();
    assert_eq!(session.next_notification("health_snapshot"), snapshot);
    snapshot
}

fn collect_one() -> Value {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer);
    setup.docker(NO_CONTAINERS);
    let _agent = setup.start();
    collect(&mut peer.accept_registered())
}

#[test]
fn a_snapshot_has_every_field_and_nothing_else() {
    let before = date();
    let snapshot = collect_one();
    let after = date();
    let mut fields: Vec<&String> = snapshot.as_object().expect("an object").keys().collect();
    fields.sort();
    let expected = [
        "collected_at",
        "container_count",
        "container_health",
        "containers",
        "cpu_pct",
        "disk_pct",
        "host",
        "mem_pct",
    ];
    assert_eq!(fields, expected);
    for name in ["cpu_pct", "mem_pct", "disk_pct"] {
        let text = snapshot[name].to_string();
        let value: f64 = text.parse().expect("a number");
        assert!((0.0..=100.0).contains(&value), "{name}: {text}");
        let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
        assert!(decimals.len() <= 1, "{name}: {text}");
    }
    assert_eq!(snapshot["container_count"], 0);
    assert_eq!(snapshot["container_health"], json!({}));
    assert_eq!(snapshot["containers"], json!([]));

    // RFC 3339 in UTC sorts as text, as far as the seconds.
    let at = snapshot["collected_at"].as_str().expect("a string");
    let (seconds, rest) = at.split_at_checked(19).expect("a date and a time");
    assert!(*before <= *seconds && *seconds <= *after, "{before} {at} {after}");
    let fraction = rest.strip_suffix('Z').expect("UTC");
    let digits = fraction.strip_prefix('.').unwrap_or("0");
    assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), "{at}");
}

fn date() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output();
    String::from_utf8(date.expect("coreutils are there").stdout).expect("digits").trim().to_owned()
}

/// Processor time in ticks, all processors together: (busy, idle).
fn processor_ticks() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").expect("a Linux");
    let line = stat.lines().next().expect("the sum is first");
    // user nice system idle iowait irq softirq steal; the rest is in user and nice already.
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|ticks| ticks.parse().expect("a number"))
        .collect();
    let idle = ticks[3] + ticks[4];
    (ticks.iter().sum::<f64>() - idle, idle)
}

/// The agent's second lies within what is watched here, which so bounds what it can have seen: at
/// the least, all that it missed was busy; at the most, all of that was idle.
#[test]
fn cpu_is_that_of_proc_stat_over_the_second() {
    let stat = fs::read_to_string("/proc/stat").expect("a Linux");
    let is_processor = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let processors = stat.lines().filter(is_processor).count() as f64;
    let setup = Setup::new();
    setup.docker(NO_CONTAINERS);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let loaded = AtomicBool::new(true);
    thread::scope(|scope| {
        // So that there is something to see also where nothing else runs.
        scope.spawn(|| {
            while loaded.load(Ordering::Relaxed) {
                black_box(0);
            }
        });
        let (busy_before, idle_before) = processor_ticks();
        let snapshot = collect(&mut session);
        let (busy_after, idle_after) = processor_ticks();
        loaded.store(false, Ordering::Relaxed);

        let (busy, idle) = (busy_after - busy_before, idle_after - idle_before);
        // 100 ticks; counters are up to date to within a few.
        let second = 95.0 * processors;
        let least = 100.0 * (1.0 - idle / second);
        let most = 100.0 * busy / second;
        let cpu = snapshot["cpu_pct"].as_f64().expect("a number");
        assert!(cpu >= least - 0.1 && cpu <= most + 0.1, "{cpu} is not in {least}..{most}");
        assert!(cpu > 0.0, "a processor is busy");
    });
}

#[test]
fn memory_is_that_of_proc_meminfo() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let used = || {
        let meminfo = fs::read_to_string("/proc/meminfo").expect("a Linux");
        let kibibytes = |name: &str| -> f64 {
            let line = meminfo.lines().find(|line| line.split(':').next() == Some(name));
            let fields = line.expect("every kernel since 3.14 has it").split_whitespace().nth(1);
            fields.expect("a value").parse().expect("a number")
        };
        100.0 * (1.0 - kibibytes("MemAvailable") / kibibytes("MemTotal"))
    };
    agrees("mem_pct", &mut session, used);
}

#[test]
fn disk_is_that_of_df() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let used = || {
        let df = Command::new("df").args(["--block-size=1", "--output=used,size", "/"]).output();
        let table = String::from_utf8(df.expect("coreutils are there").stdout).expect("ASCII");
        let row = table.lines().nth(1).expect("a row below the titles");
        let columns: Vec<f64> =
            row.split_whitespace().map(|bytes| bytes.parse().expect("a number")).collect();
        100.0 * columns[0] / columns[1]
    };
    agrees("disk_pct", &mut session, used);
}

/// Takes snapshots until nothing much has changed around one, and holds that one to it.
#[track_caller]
fn agrees(name: &str, session: &mut Session, read: impl Fn() -> f64) {
    for _ in 0..TRIES {
        let before = read();
        let value = collect(session)[name].as_f64().expect("a number");
        let after = read();
        if (after - before).abs() < 0.2 {
            let off = (value - before).abs();
            assert!(off < 0.35, "{name} is {value}, and {before} and {after} by other means");
            return;
        }
    }
    panic!("{name}: too much going on here to compare");
}

#[test]
fn containers_are_those_of_docker_with_their_health() {
    let check = |command, interval| {
        let interval: &str = interval;
        let options =
            ["--health-cmd", command, "--health-interval", interval, "--health-retries", "1"];
        Container::running(&options, "exec sleep 600")
    };
    let containers = [
        ("healthy", check("true", "1s")),
        ("unhealthy", check("false", "1s")),
        ("starting", check("true", "1h")),
        ("none", Container::running(&[], "exec sleep 600")),
        ("none", Container::running(&["--no-healthcheck"], "exec sleep 600")),
    ];
    let ended = Container::ended(&[], "true");
    let template = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";
    for (health, container) in &containers {
        poll_until(health, PATIENCE, || {
            let inspected = docker(&["inspect", "--format", template, &container.name]);
            (inspected.trim() == *health).then_some(())
        });
    }

    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let running = || docker(&["ps", "--format", "{{.Names}}"]);
    let by_names = |names: &str| names.lines().map(str::to_owned).collect::<Vec<_>>();
    for _ in 0..TRIES {
        let before = running();
        let snapshot = collect(&mut session);
        let health: BTreeMap<String, String> =
            serde_json::from_value(snapshot["container_health"].clone()).expect("names to health");
        for (expected, container) in &containers {
            assert_eq!(health[&container.name], *expected);
        }
        assert!(!health.contains_key(&ended.name));
        let known = ["healthy", "unhealthy", "starting", "none"];
        assert!(health.values().all(|health| known.contains(&health.as_str())), "{health:?}");
        assert_eq!(snapshot.get("errors"), None);
        // Other tests start and end containers of their own.
        if before == running() && before.lines().count() == health.len() {
            let mut names = by_names(&before);
            names.sort();
            assert_eq!(snapshot["container_count"], names.len());
            assert!(health.keys().eq(&names), "{health:?}, not {names:?}");
            return;
        }
    }
    panic!("containers come and go too fast here to be counted");
}

#[test]
fn a_snapshot_takes_the_second_of_its_sample_and_no_more() {
    let _containers = [
        Container::running(&[], "exec sleep 600"),
        Container::running(&["--health-cmd", "true"], "exec sleep 600"),
    ];
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let mut fastest = Duration::MAX;
    for _ in 0..TRIES {
        let began = Instant::now();
        collect(&mut session);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(990), "{took:?} is no second");
        fastest = fastest.min(took);
        if fastest <= Duration::from_millis(1050) {
            return;
        }
    }
    panic!("the fastest of {TRIES} took {fastest:?}");
}
