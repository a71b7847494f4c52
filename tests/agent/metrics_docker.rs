//! `metrics_collect` when docker is missing, forbidden, hung or half gone: the rest still arrives.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Agent, Container, NO_CONTAINERS, PATIENCE, Peer, Session, Setup, group_members, poll_until,
};

/// Output of docker on a real machine; `tests/fixtures/README.md` tells how it was captured.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../fixtures/docker/", $name))
    };
}

#[track_caller]
fn collect(session: &mut Session) -> Value {
    let snapshot = session.request(1, "metrics_collect", json!({})).result().clone();
    assert_eq!(session.next_notification("health_snapshot"), snapshot);
    snapshot
}

/// A running container, as docker prints it.
const ROW: &str = r#"["a1","/web","i","running","healthy",0,0,false,"2026-01-01T00:00:00Z"]"#;

/// The processors, memory and disk have been read, whatever became of docker.
#[track_caller]
fn assert_rest_is_there(snapshot: &Value) {
    for name in ["cpu_pct", "mem_pct", "disk_pct"] {
        assert!(snapshot[name].is_number(), "{snapshot}");
        assert!(snapshot["errors"].get(name).is_none(), "{snapshot}");
    }
    assert!(snapshot["collected_at"].is_string(), "{snapshot}");
}

/// Neither number nor map nor list of containers, and why, in one line with these words.
#[track_caller]
fn assert_no_docker(snapshot: &Value, words: &[&str]) {
    assert_rest_is_there(snapshot);
    for part in ["container_count", "container_health", "containers"] {
        assert_eq!(snapshot.get(part), Some(&Value::Null), "{snapshot}");
        let reason = snapshot["errors"][part].as_str().expect("a reason");
        assert!(!reason.contains('\n'), "{reason:?}");
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in {reason:?}");
        }
    }
}

#[test]
fn docker_is_missing() {
    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().env("VMKIT_DOCKER_BIN", "/nonexistent/docker"));
    let words = ["/nonexistent/docker", "not installed", "VMKIT_DOCKER_BIN"];
    assert_no_docker(&collect(&mut session), &words);
    agent.wait_for_log(&["docker", "not installed"]);
}

#[test]
fn the_daemon_is_down() {
    let address = "unix:///nonexistent.sock";
    let (_peer, agent, mut session) = Agent::registered(Setup::new().env("DOCKER_HOST", address));
    assert_no_docker(&collect(&mut session), &["cannot connect", address, "systemctl start"]);
    agent.wait_for_log(&["cannot connect", address]);
}

/// The reference's troubleshooting list tells operators to look for these words in the log.
#[test]
fn the_socket_is_forbidden() {
    // With the engine up, so that it is the permission that is missing.
    let _container = Container::running(&[], "exec sleep 300");
    let (_peer, agent, mut session) = Agent::registered(Setup::new().unprivileged());
    let words = ["permission denied", "/var/run/docker.sock", "docker group"];
    assert_no_docker(&collect(&mut session), &words);
    let logs = session.request(2, "logs_fetch", json!({"container": "web"}));
    assert_eq!(logs.code(), -32002, "{logs:?}");
    agent.wait_for_log(&["logs_fetch", "permission denied", "/var/run/docker.sock"]);
    agent.wait_for_log(&["metrics_collect", "permission denied", "/var/run/docker.sock"]);
}

#[test]
fn docker_fails_in_some_other_way() {
    let setup = Setup::new();
    setup.file("bin/docker.stderr", captured!("api-too-new.stderr"));
    setup.docker(r#"cat "$0.stderr" >&2; exit 1"#);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    assert_no_docker(&collect(&mut session), &["docker: ", "is too new"]);
}

#[test]
fn only_inspect_fails() {
    let setup = Setup::new();
    setup.docker(
        "case $1 in ps) printf 'CONTAINER ID\na1 Up\nb2 Up\n';; *) echo 'no way' >&2; exit 1; esac",
    );
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let snapshot = collect(&mut session);
    assert_rest_is_there(&snapshot);
    assert_eq!(snapshot["container_count"], 2);
    assert_eq!(snapshot["errors"].as_object().map(|errors| errors.len()), Some(2));
    for part in ["container_health", "containers"] {
        assert_eq!(snapshot[part], Value::Null);
        assert!(snapshot["errors"][part].to_string().contains("no way"), "{snapshot}");
    }
}

/// A container that is removed between `ps` and `inspect` is left out, and is no error.
#[test]
fn containers_vanish_in_between() {
    let body = r#"
        case $1 in
        ps) cat "$0.ids";;
        inspect) cat "$0.stdout"; cat "$0.stderr" >&2; exit 1;;
        esac
    "#;
    for (stdout, stderr, health, left) in [
        (
            captured!("inspect-vanished.stdout"),
            captured!("inspect-vanished.stderr"),
            json!({"vmkit-test-s-run": "none"}),
            2,
        ),
        ("", captured!("inspect-all-gone.stderr"), json!({}), 0),
    ] {
        let setup = Setup::new();
        setup.file("bin/docker.ids", captured!("ps.txt"));
        setup.file("bin/docker.stdout", stdout);
        setup.file("bin/docker.stderr", stderr);
        setup.docker(body);
        let (_peer, _agent, mut session) = Agent::registered(setup);
        let snapshot = collect(&mut session);
        assert_rest_is_there(&snapshot);
        assert_eq!(snapshot["container_health"], health);
        assert_eq!(snapshot["containers"].as_array().map(Vec::len), Some(left));
        assert_eq!(snapshot["container_count"], 4);
        assert_eq!(snapshot.get("errors"), None);
    }
}

/// A program that ends well and prints nothing has no containers to count.
#[test]
fn what_is_no_docker_has_no_containers() {
    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().env("VMKIT_DOCKER_BIN", "/bin/true"));
    let words = ["/bin/true ps", "not docker", "VMKIT_DOCKER_BIN"];
    assert_no_docker(&collect(&mut session), &words);
    agent.wait_for_log(&["without container data", "not docker"]);
}

/// `ps` in one agent, `inspect` in the other: what is known in the end differs, the time does not.
#[test]
fn a_hung_docker_is_given_up_after_14_s() {
    let hangs = "trap '' TERM; sleep 300 & sleep 300";
    let listing = Peer::plain();
    let setup = Agent::dialing(&listing);
    let docker = setup.docker(hangs);
    let _listing = setup.start();
    let mut session = listing.accept_registered();
    let inspecting = Peer::plain();
    let setup = Agent::dialing(&inspecting);
    let slow = setup.docker(&format!(
        "if [ $1 = ps ]; then sleep 2; printf 'CONTAINER ID\na1 Up\n'; else {hangs}; fi"
    ));
    let _inspecting = setup.start();
    let mut other = inspecting.accept_registered();

    let began = Instant::now();
    session.send_request(1, "metrics_collect", Value::Null);
    other.send_request(1, "metrics_collect", Value::Null);
    let hung = [docker.wait_for_calls("ps", 1), slow.wait_for_calls("inspect", 1)].concat();
    let mut pings = Vec::new();
    while began.elapsed() < Duration::from_secs(13) {
        pings.push(session.ping(b"alive?"));
        assert_eq!(other.request(2, "vmkit_test_nothing", Value::Null).code(), -32601);
        thread::sleep(Duration::from_millis(50)); // the pace, nothing is waited for
    }

    let snapshot = session.response_to(1, PATIENCE).result().clone();
    let took = began.elapsed();
    assert!(took > Duration::from_secs(13) && took < Duration::from_secs(19), "{took:?}");
    assert_no_docker(&snapshot, &["docker", "14 s"]);
    assert_eq!(session.next_notification("health_snapshot"), snapshot);
    session.assert_quiet();

    let snapshot = other.response_to(1, PATIENCE).result().clone();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(19), "{took:?}: the 14 s are for both commands");
    assert_rest_is_there(&snapshot);
    assert_eq!(snapshot["container_count"], 1);
    assert_eq!(snapshot["container_health"], Value::Null);
    assert!(snapshot["errors"]["container_health"].to_string().contains("14 s"), "{snapshot}");

    for call in hung {
        poll_until("the end of the process group", PATIENCE, || {
            group_members(call.pid).is_empty().then_some(())
        });
    }
    pings.sort();
    let median = pings[pings.len() / 2];
    assert!(median < Duration::from_millis(40), "{median:?} of {} pings", pings.len());
}

#[test]
fn requests_share_the_sample_that_is_being_taken() {
    let setup = Setup::new();
    let docker = setup
        .docker(&format!("case $1 in ps) printf 'CONTAINER ID\na1 Up\n';; *) echo '{ROW}';; esac"));
    let (_peer, _agent, mut session) = Agent::registered(setup);
    for round in 1..=2 {
        for id in 0..20 {
            session.send_request(id, "metrics_collect", json!({}));
        }
        // In the middle of it, when docker has been asked already.
        docker.wait_for_calls("inspect", round);
        session.send_request("late", "metrics_collect", Value::Null);
        session.notify("metrics_collect", Value::Null);

        let mut snapshots = Vec::new();
        for _ in 0..21 {
            let mut message = session.next_message();
            assert!(message.get("id").is_some(), "answers first: {message}");
            snapshots.push(message["result"].take());
        }
        snapshots.push(session.next_notification("health_snapshot"));
        assert_eq!(snapshots[0]["container_health"], json!({"web": "healthy"}));
        assert!(snapshots.iter().all(|snapshot| *snapshot == snapshots[0]), "{snapshots:?}");
        session.assert_quiet();
        let calls: Vec<_> = docker.calls().into_iter().map(|call| call.arguments).collect();
        assert_eq!(calls.len(), 2 * round, "one ps and one inspect a sample: {calls:?}");
    }
}

#[test]
fn a_notification_has_a_snapshot_and_no_answer() {
    let setup = Setup::new();
    setup.docker(NO_CONTAINERS);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    session.notify("metrics_collect", Value::Null);
    let snapshot = session.next_notification("health_snapshot");
    assert_rest_is_there(&snapshot);
    session.assert_quiet();
}
