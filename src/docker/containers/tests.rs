//! Output of docker and podman, captured and made up, whole and in pieces.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// `tests/fixtures/README.md` says how each was taken.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/docker/", $name))
    };
}

fn listed(output: &str) -> Result<Listed, &'static str> {
    let mut listing = Listing::default();
    listing.feed(output.as_bytes());
    listing.end()
}

fn inspected(running: &[String], room: usize, output: &str) -> Result<Inspected, &'static str> {
    let mut inspection = Inspection::new(running.to_vec(), room);
    // In pieces, as a pipe may hand it over.
    for piece in output.as_bytes().chunks(7) {
        inspection.feed(piece);
    }
    inspection.end()
}

fn by_name(health: Vec<(String, Health)>) -> BTreeMap<String, Health> {
    health.into_iter().collect()
}

/// What is reported of the containers in a captured output.
fn reported(ps: &str, inspect: &str) -> (Value, Vec<Value>) {
    let inspected = inspected(&listed(ps).unwrap().running, 1 << 20, inspect).unwrap();
    let containers = json!(inspected.containers.unwrap());
    (json!(by_name(inspected.health)), containers.as_array().unwrap().clone())
}

/// Of one container: all but its id and the time of its start.
fn summary(containers: &[Value], name: &str) -> Value {
    let container = containers.iter().find(|container| container["name"] == name).unwrap();
    json!([
        container["state"],
        container["health"],
        container["exit_code"],
        container["restarts"],
        container["oom_killed"],
        container["started_at"].is_string(),
    ])
}

#[test]
fn arguments() {
    assert_eq!(ps_arguments()[..3], ["ps", "--all", "--no-trunc"]);
    let listed = Listed {
        running: vec!["0123456789ab".into()],
        others: vec!["ba9876543210".into()],
        ..Listed::default()
    };
    let inspect = inspect_arguments(&listed);
    assert_eq!(inspect[..4], ["inspect", "--type", "container", "--format"]);
    assert_eq!(inspect[5..], ["0123456789ab", "ba9876543210"]);
}

#[test]
fn what_docker_lists() {
    let docker = listed(captured!("ps.txt")).unwrap();
    // Up, paused, unhealthy, restarting; created twice, and exited twice.
    assert_eq!((docker.count, docker.running.len(), docker.others.len()), (4, 4, 4));
    assert!(docker.running.iter().chain(&docker.others).all(|id| id.len() == 64));
    assert!(docker.others[0].starts_with("37e1d0945ffe") && !docker.has_more);
    // `podman ps --quiet` lists no paused container.
    let podman = listed(captured!("podman-ps.txt")).unwrap();
    assert_eq!((podman.count, podman.others.len()), (1, 4));
    assert!(podman.running[0].starts_with("dcd96e7ab684"));

    let none = listed("CONTAINER ID STATUS\n").unwrap();
    assert_eq!((none.count, none.others.len()), (0, 0));
    let odd =
        listed("CONTAINER ID\r\nabc Up 1 second\r\n\n--rm Up\nx/y Up\n/ Up\nb\nlast Up").unwrap();
    assert_eq!((odd.running, odd.others), (vec!["abc".into(), "last".into()], vec!["b".into()]));
}

#[test]
fn what_prints_no_table_is_no_docker() {
    for output in ["", "\n", "abc Up 2 hours\n", "Hello, world!\n"] {
        let error = listed(output).err().unwrap();
        assert!(error.contains("is not docker") && error.contains("VMKIT_DOCKER_BIN"), "{error}");
    }
}

#[test]
fn more_containers_than_are_inspected() {
    let line = |status: &str, index: usize| format!("{status}{index:09} {status} 2 hours\n");
    let lines = |status: &str, count: usize| -> String {
        (0..count).map(|index| line(status, index)).collect()
    };
    let output = format!("CONTAINER ID STATUS\n{}{}", lines("Exited", 501), lines("Up", 10_001));
    let many = listed(&output).unwrap();
    assert!(many.has_more);
    assert_eq!((many.count, many.running.len(), many.others.len()), (10_001, 10_000, 500));
    assert_eq!(many.others[0], "Exited000000000");
    let all = listed(&format!("CONTAINER ID STATUS\n{}", lines("Exited", 500))).unwrap();
    assert!(!all.has_more);
}

#[test]
fn how_containers_are() {
    let (health, containers) = reported(captured!("ps.txt"), captured!("inspect.txt"));
    assert_eq!(
        health,
        json!({
            "vmkit-test-s-crash": "none", "vmkit-test-s-health": "unhealthy",
            "vmkit-test-s-pause": "none", "vmkit-test-s-run": "none",
        })
    );
    assert_eq!(containers.len(), 8);
    for (name, expected) in [
        ("run", json!(["running", "none", null, 0, false, true])),
        ("pause", json!(["paused", "none", null, 0, false, true])),
        ("health", json!(["running", "unhealthy", null, 0, false, true])),
        ("crash", json!(["restarting", "none", 7, 9, false, true])),
        ("exit3", json!(["exited", "none", 3, 0, false, true])),
        ("oom", json!(["exited", "none", 137, 0, true, true])),
        ("created", json!(["created", "none", null, 0, false, false])),
        // Its program does not exist.
        ("noexec", json!(["created", "none", 127, 0, false, false])),
    ] {
        assert_eq!(summary(&containers, &format!("vmkit-test-s-{name}")), expected, "{name}");
    }
    assert_eq!(
        containers[1],
        json!({
            "name": "vmkit-test-s-exit3", "image": "vmkit-test-snap", "state": "exited",
            "id": "8db4505b450450f62810613bb86273859978b0678bd3c9b6c375acaadeb9ce50",
            "health": "none", "exit_code": 3, "restarts": 0, "oom_killed": false,
            "started_at": "2026-11-25T05:00:30.438302601Z",
        })
    );
}

#[test]
fn how_podmans_containers_are() {
    let (health, containers) =
        reported(captured!("podman-ps.txt"), captured!("podman-inspect.txt"));
    assert_eq!(health, json!({"vmkit-test-running": "none"}));
    for (name, expected) in [
        ("created", json!(["created", "none", null, 0, false, false])),
        ("running", json!(["running", "none", null, 0, false, true])),
        ("exited", json!(["stopped", "none", 3, 0, false, true])),
        ("paused", json!(["paused", "none", null, 0, false, true])),
    ] {
        assert_eq!(summary(&containers, &format!("vmkit-test-{name}")), expected, "{name}");
    }
}

#[test]
fn containers_that_vanished_are_left_out() {
    let all = listed(captured!("ps.txt")).unwrap().running;
    let inspected = inspected(&all, 1 << 20, captured!("inspect-vanished.stdout")).unwrap();
    assert!(by_name(inspected.health).keys().eq(["vmkit-test-s-run"]));
    assert_eq!(inspected.containers.unwrap().len(), 2);
}

#[test]
fn odd_names_and_times() {
    let line = r#"["a","/x y\" ,]\n","","odd","unknown",-1,0,false,"2026-01-01 10:00 CET"]"#;
    let inspected = inspected(&["a".into()], 1 << 20, &format!("\n{line}\n")).unwrap();
    assert_eq!(json!(by_name(inspected.health)), json!({"x y\" ,]\n": "none"}));
    let container = &json!(inspected.containers.unwrap())[0];
    assert_eq!(container["exit_code"], -1);
    assert_eq!((&container["image"], &container["started_at"]), (&json!(""), &Value::Null));
}

#[test]
fn output_that_can_not_be_used() {
    let line = r#"["a","/a","i","running","",0,0,false,""]"#;
    let error = |output: &str| inspected(&[], 1 << 20, output).err().unwrap();
    for output in ["Hello\n", "[]\n", "[\"a\"]\n", &line[1..], &format!("{line} {line}\n")] {
        assert!(error(output).contains("something else"), "{output}");
    }
    // A line longer than what is kept of it.
    let long = line.replace("/a", &"a".repeat(20_000));
    assert!(error(&long).contains("something else"));
    assert!(error(&format!("{line}\n").repeat(110_000)).contains("4 MiB"));
    // What there is no room for in the message is left out; the health stays.
    let names: String =
        (0..9).map(|n| line.replace("\"a\"", &format!("\"a{n}\"")) + "\n").collect();
    let large = inspected(&["a3".into()], 9 * 150, &names).unwrap();
    assert!(large.containers.is_none() && large.health.len() == 1);
}

proptest! {
    #[test]
    fn output_never_panics(bytes: Vec<u8>, text: String) {
        for output in [bytes, format!("CONTAINER ID\n{text}").into_bytes()] {
            let mut listing = Listing::default();
            listing.feed(&output);
            let ids = listing.end().map(|listed| [listed.running, listed.others].concat());
            let is_safe = crate::docker::is_container_name;
            prop_assert!(ids.unwrap_or_default().iter().all(|id| is_safe(id)));
            let mut inspection = Inspection::new(Vec::new(), 100);
            inspection.feed(&output);
            let _ = inspection.end();
        }
    }
}
