//! One thread: whatever the agent does, `/proc/<pid>/task` has a single entry.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, Authority, Peer};

#[test]
fn there_is_never_a_second_thread() {
    let authority = Authority::new();
    let peer = Peer::tls(&authority.good());
    let url = peer.url_for("localhost");
    let setup = Agent::dialing(&peer).env("VMKIT_GATEWAY_URL", url).trusting(&authority);
    setup.docker("sleep 0.2; seq 10000");
    let mut agent = setup.start();
    let tasks = format!("/proc/{}/task", agent.pid());
    // Looks until the agent has gone, so that it ends with the test, however that ends.
    let watch = thread::spawn(move || {
        let mut counts = Vec::new();
        while let Ok(entries) = fs::read_dir(&tasks) {
            counts.push(entries.count());
            thread::sleep(Duration::from_millis(1));
        }
        counts
    });
    for _ in 0..3 {
        let mut session = peer.accept_registered();
        for id in 0..8 {
            session.send_request(id, "logs_fetch", json!({"container": "web", "lines": 5000}));
        }
        session.request("m", "metrics_collect", json!({}));
    }
    agent.assert_exits_on(Signal::TERM);
    let counts = watch.join().expect("it counts");
    assert!(counts.len() > 100, "{} looks", counts.len());
    assert_eq!(counts.iter().max(), Some(&1));
}
