//! What survives: a restart in good order, a second gateway on the same folder, and folders that are
//! not fit to be used.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::gateway::{Folder, run};
use crate::support::{Agent, Gateway, eventually};

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let agent = Agent::start(&gateway, "web-1").await;
    Agent::start(&gateway, "web-2").await.vanish(&gateway).await;
    agent.snapshot(12.5);
    let reader = gateway.folder().keys.api("read");
    let stored = async || {
        let history = client.json("/api/instances/web-1/history").await;
        let means = history["cpu_pct"]["mean"].as_array().unwrap().clone();
        means.contains(&json!(12.5)).then_some(())
    };
    eventually("the snapshot is stored", stored).await;
    let before = client.json("/api/instances/web-1").await;
    let lost = client.json("/api/instances/web-2").await;
    let events = client.json("/api/events?after=0").await["events"].as_array().unwrap().clone();

    let gateway = gateway.restart().await;
    let client = gateway.client();
    let after = client.json("/api/instances/web-1").await;
    for member in ["labels", "host", "agent_version", "metrics", "first_seen", "registers", "ip"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["agent_connected"], false);
    assert!(after["warning"]["text"].as_str().unwrap().contains("the gateway ends"), "{after}");
    assert_eq!(client.json("/api/instances/web-2").await["warning"], lost["warning"]);
    let now = client.json("/api/events?after=0").await["events"].as_array().unwrap().clone();
    assert_eq!(now[..events.len()], events[..], "no event is lost");
    let types: Vec<_> = now[events.len()..].iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["lost", "gateway_started"]);
    let history = client.json("/api/instances/web-1/history").await;
    assert!(history["cpu_pct"]["mean"].as_array().unwrap().contains(&json!(12.5)));
    assert_eq!(gateway.client_with(&reader).get("/api/instances").await.status, 200);

    let _agent = Agent::start(&gateway, "web-1").await;
    let back = client.json("/api/instances/web-1").await;
    assert_eq!([&back["agent_connected"], &back["registers"]], [&json!(true), &json!(2)]);
    assert!(back["last_warning"]["cleared_at"].is_string(), "{back}");
}

/// Killed, the gateway has told nobody's loss: its next start does.
#[tokio::test]
async fn since_when_an_instance_is_lost_survives_every_restart() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _agent = Agent::start(&gateway, "web-1").await;
    let stored = async || {
        let events = client.json("/api/instances/web-1/events?after=0").await;
        (events["events"][0]["type"] == "connected").then_some(())
    };
    eventually("its register is stored", stored).await;
    let (folder, key, token) = gateway.kill();
    let gateway = Gateway::start_in(folder, key, token, &[]).await;
    let warning = gateway.client().json("/api/instances/web-1").await["warning"].clone();
    assert!(warning["text"].as_str().unwrap().contains("restarted"), "{warning}");
    let gateway = gateway.restart().await.restart().await;
    assert_eq!(gateway.client().json("/api/instances/web-1").await["warning"], warning);
}

#[tokio::test]
async fn a_lost_instance_can_be_forgotten() {
    let mut gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let name = "web 1";
    let agent = Agent::start(&gateway, name).await;
    agent.snapshot(12.5);
    let words = |answer: &Value| answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    let answer = gateway.ask("forget web 1").await;
    assert!(words(&answer).contains("connected"), "{answer}");
    agent.vanish(&gateway).await;
    let other = Agent::start(&gateway, "web-2").await;

    let answer = gateway.ask("forget web 1").await;
    assert_eq!(answer["answer"], json!({"ok": true}), "{answer}");
    client.get("/api/instances/web%201").await.problem(404, "no-such-instance");
    let answer = gateway.ask("forget web 1").await;
    assert!(words(&answer).contains("no instance"), "{answer}");
    drop(other);

    let gateway = gateway.restart().await;
    let client = gateway.client();
    client.get("/api/instances/web%201").await.problem(404, "no-such-instance");
    assert_eq!(client.json("/api/instances").await["instances"].as_array().unwrap().len(), 1);
    let _again = Agent::start(&gateway, name).await;
    let events = async || {
        let events = client.json("/api/instances/web%201/events?after=0").await;
        let events = events["events"].as_array().unwrap().clone();
        (!events.is_empty()).then_some(events)
    };
    assert_eq!(eventually("it is there again", events).await.len(), 1, "as if for the first time");
    let history = client.json("/api/instances/web%201/history").await;
    assert!(history["count"].as_array().unwrap().iter().all(|count| count == 0), "{history}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_folder_is_refused() {
    let gateway = Gateway::start(&[]).await;
    let output = run(gateway.folder());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let data = gateway.folder().data();
    assert!(said.contains("in use by another gateway"), "{said}");
    assert!(said.contains(data.to_str().unwrap()) && said.lines().count() == 1, "{said}");
    let _agent = Agent::start(&gateway, "web-1").await;
    assert_eq!(gateway.client().json("/api/instances/web-1").await["agent_connected"], true);
}

/// The start fails with one line that has these words and the folder's name.
fn refused(folder: &Folder, words: &[&str]) {
    let output = run(folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words.iter().chain(&[folder.path().to_str().unwrap()]) {
        assert!(said.contains(word), "{word}: {said}");
    }
    let token = folder.keys.run(&["list"]);
    assert_eq!(token.status.code(), Some(1), "gateway token refuses it as well");
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let folder = Folder::new();
    let data = folder.data();
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(data.join("notes"), "mine").unwrap();
    refused(&folder, &["gateway.db"]);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    let mode = data.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "its mode is as it was");
}

/// As root: only then can there be a folder of somebody else.
#[test]
fn somebody_elses_folder_is_not_trusted() {
    let folder = Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    chown(folder.data(), Some(65534), None).expect("the tests of this file run as root");
    refused(&folder, &["belongs to another user"]);
    assert_eq!(std::fs::read_dir(folder.data()).unwrap().count(), 0, "nothing is made there");
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.lock"] {
        let folder = Folder::new();
        std::fs::create_dir(folder.data()).unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        std::fs::write(folder.data().join("gateway.db"), "").unwrap();
        let _ = std::fs::remove_file(folder.data().join(name));
        symlink(&target, folder.data().join(name)).unwrap();
        refused(&folder, &[name, "symbolic link"]);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious", "{name}");
    }
}

#[test]
fn what_is_no_database_or_a_newer_one_is_said_so() {
    let folder = Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    std::fs::write(folder.data().join("gateway.db"), "no database, but long enough. ".repeat(100))
        .unwrap();
    refused(&folder, &["not a database"]);

    let folder = Folder::new();
    folder.keys.api("read");
    let database = Connection::open(folder.data().join("gateway.db")).unwrap();
    database.pragma_update(None, "user_version", 1000).unwrap();
    drop(database);
    refused(&folder, &["1000", "newer gateway"]);
}
