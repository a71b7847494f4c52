//! An upgrade's download does not slow down the rest of the agent.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Agent, Download, Release, Server};
use crate::upgrade::{installed, params};

const UNFIT: i64 = -32012;
const LARGE: usize = 100 << 20;

#[test]
fn a_slow_download_is_reported_every_five_seconds() {
    let server = Server::plain();
    let (_peer, _agent, mut session) = installed();
    let slow = Download::Slow(Duration::from_secs(13));
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), slow);
    let started = Instant::now();
    session.send_request("a", "agent_upgrade", params(&url, &next));
    let mut last = 0;
    for count in 1..=2 {
        let params = session.next_notification("upgrade_progress");
        let due = Duration::from_secs(5) * count;
        let elapsed = started.elapsed();
        assert!(elapsed >= due && elapsed < due + Duration::from_secs(3), "{count}: {elapsed:?}");
        assert_eq!(params["id"], "a");
        assert_eq!(params["stage"], "download");
        assert_eq!(params["total"], next.bytes.len());
        let bytes = params["bytes"].as_u64().expect("an integer");
        assert!(bytes > last && bytes < next.bytes.len() as u64, "{params}");
        last = bytes;
    }
    assert!(session.response_to("a", Duration::from_secs(30)).result().is_object());
}

#[test]
fn a_large_download_leaves_the_loop_free() {
    let server = Server::plain();
    let (_peer, agent, mut session) = installed();
    let large = Release::unfit(vec![0; LARGE]);
    let url = server.offer("agent", large.bytes.clone(), Download::Slow(Duration::from_secs(5)));
    session.send_request(1, "agent_upgrade", params(&url, &large));
    session.send_request(2, "metrics_collect", json!({}));
    let mut pings = Vec::new();
    let started = Instant::now();
    let mut most = 0;
    while started.elapsed() < Duration::from_secs(4) {
        pings.push(session.ping(b"now"));
        for process in processes(&agent) {
            most = most.max(check(process));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    pings.sort();
    // The median, because the machine may be busy with other tests at any one of them.
    let median = pings[pings.len() / 2];
    assert!(median < Duration::from_millis(40), "{median:?}");
    // The build that ships; a debug build maps ten times as much of its file.
    if std::env::var_os("VMKIT_AGENT_BIN").is_some() {
        assert!(most <= 5 * 1024, "{most} KiB");
    }
    assert!(session.response_to(2, Duration::from_secs(20)).result().is_object());
    assert_eq!(session.response_to(1, Duration::from_secs(60)).code(), UNFIT);
}

/// The agent and its upgrader.
fn processes(agent: &Agent) -> Vec<u32> {
    let children = format!("/proc/{0}/task/{0}/children", agent.pid());
    let children = fs::read_to_string(children).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([agent.pid()]).collect()
}

/// The most memory that a process of ours has used, in KiB, and that it has one thread.
fn check(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<usize>().ok()
    };
    if !status.starts_with("Name:\tvmkit-agent") {
        // docker, for the snapshot; or gone.
        return 0;
    }
    assert_eq!(field("Threads:").unwrap_or(1), 1, "{status}");
    field("VmHWM:").unwrap_or(0)
}
