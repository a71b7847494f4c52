//! `metrics_collect`: the member `host`, held against the same read by other means, and with a file
//! system that hangs.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Agent, NO_CONTAINERS, Session, Setup};

/// The member `host` of a snapshot without errors.
#[track_caller]
fn host(session: &mut Session) -> Value {
    let snapshot = session.request(1, "metrics_collect", Value::Null).result().clone();
    session.next_notification("health_snapshot");
    assert_eq!(snapshot.get("errors"), None, "{snapshot}");
    snapshot["host"].clone()
}

/// A column of `df` for `/`.
fn df(column: &str) -> f64 {
    let df =
        Command::new("df").args(["--block-size=1", &format!("--output={column}"), "/"]).output();
    let table = String::from_utf8(df.expect("coreutils are there").stdout).expect("ASCII");
    table.lines().nth(1).expect("a row below the title").trim().parse().expect("a number")
}

#[test]
fn the_host_is_that_of_proc_and_df() {
    let uptime = || {
        let text = fs::read_to_string("/proc/uptime").expect("a Linux");
        text.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).expect("a number")
    };
    let setup = Setup::new();
    setup.docker(NO_CONTAINERS);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let before = uptime();
    let host = host(&mut session);
    let after = uptime();
    let mut members: Vec<&String> = host.as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(members, ["disks", "load", "swap_pct", "uptime_s"]);
    let told = host["uptime_s"].as_u64().expect("whole seconds");
    assert!(before <= told && told <= after, "{before} {told} {after}");

    let load = host["load"].as_array().expect("three numbers");
    assert_eq!(load.len(), 3);
    assert!(load.iter().all(|load| load.as_f64() >= Some(0.0)), "{load:?}");
    let meminfo = fs::read_to_string("/proc/meminfo").expect("a Linux");
    let has_no_swap = meminfo
        .lines()
        .any(|line| line.strip_prefix("SwapTotal:").is_some_and(|size| size.trim() == "0 kB"));
    assert_eq!(host["swap_pct"].is_null(), has_no_swap, "{host}");

    // In a container `/` is no disk.
    if let Some(root) = host["disks"].get("/") {
        for (member, used, all) in [("used_pct", "used", "size"), ("inodes_pct", "iused", "itotal")]
        {
            let used = 100.0 * df(used) / df(all);
            let told = root[member].as_f64().expect("a number");
            assert!((told - used).abs() < 1.0, "{member} is {told}, and {used} by df");
        }
    }
}

/// A FUSE file system that nobody serves: whoever asks it anything waits for ever. Disks are mounted
/// beside it, under it, and where it then covers them.
#[test]
fn a_file_system_that_hangs_delays_nothing() {
    const MOUNTS: &str = r#"
        disk() {
            truncate --size 4M "$scratch/$1.image"
            mkfs.ext4 -q "$scratch/$1.image"
            mkdir -p "$2"
            mount -o loop "$scratch/$1.image" "$2"
        }
        hanging() {
            mkdir -p "$1"
            mount --internal-only -t fuse -o "fd=$2,rootmode=40000,user_id=0,group_id=0" none "$1"
        }
        disk beside "$root/a disk"
        disk under "$root/net/under"
        exec 7<>/dev/fuse 8<>/dev/fuse
        hanging "$root/net" 7
        disk over "$root/over"
        hanging "$root/over" 8
        if timeout --signal KILL 0.2 stat --file-system "$root/net/under"; then exit 1; fi
    "#;
    let setup = Setup::new().in_private_root(|root| root.before_start(MOUNTS));
    setup.docker(NO_CONTAINERS);
    let (_peer, agent, mut session) = Agent::registered(setup);
    let mounted = fs::read_to_string(format!("/proc/{}/mountinfo", agent.pid())).expect("it runs");
    for name in [" /net ", " /net/under ", " /over ", r" /a\040disk "] {
        assert!(mounted.contains(name), "no {name:?} in {mounted}");
    }
    let began = Instant::now();
    let host = host(&mut session);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let disks = host["disks"].as_object().expect("a map");
    assert!(disks["/a disk"]["used_pct"].as_f64() > Some(0.0), "{disks:?}");
    assert!(disks["/a disk"]["inodes_pct"].as_f64() > Some(0.0), "{disks:?}");
    for name in disks.keys() {
        assert!(!name.starts_with("/net") && !name.starts_with("/over"), "{disks:?}");
    }
    assert_eq!(session.request(2, "vmkit_test_nothing", json!({})).code(), -32601);
}
