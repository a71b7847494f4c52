//! The agent in Python that breaks a rule on demand. As long as it breaks none it serves, follows, upgrades
//! itself and goes back, and each of its messages keeps to the schemas.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use vmkit_test_support as support;

use support::{Agent, Download, Peer, Release, Server, Session, Setup, poll_until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sabotage");

/// The agent as an executable file, with a version that it tells.
fn program(version: &str) -> String {
    format!(
        "#!/bin/sh\nexec python3 -I -S {FOLDER}/agent.py --installed \"$0\" --own-version {version} \"$@\"\n"
    )
}

/// An agent that may replace itself, whose clocks run ten times as fast.
fn installed() -> Setup {
    let setup = Setup::new();
    let draft = setup.file("draft", program("1.0.0"));
    let path = Path::new(&draft).with_file_name("vmkit-agent").display().to_string();
    // By another process: a file that this one has open for writing can't be started.
    let installed = Command::new("install").args(["-m", "755", &draft, &path]).status();
    assert!(installed.expect("coreutils are there").success());
    let state = Path::new(&path).with_file_name("state").display().to_string();
    setup.env("STATE_DIRECTORY", state).at(&path).argument("--clock-scale").argument("0.1")
}

const DOCKER: &str = r#"
    case "$1 $*" in
    "logs "*nope) echo "Error response from daemon: No such container: nope" >&2; exit 1 ;;
    "logs "*) echo "2026-01-01T00:00:00.000000001Z hello"; echo "2026-01-01T00:00:01Z oops" >&2
        case "$*" in *--follow*) sleep 0.3; echo "2026-01-01T00:00:02Z again"; sleep 60 ;; esac ;;
    "ps "*) echo "CONTAINER ID   STATUS"; echo "c0ffee   Up 2 hours" ;;
    "inspect "*) echo '["c0ffee","/web","web:3","running","",0,0,false,"2026-01-01T00:00:00Z"]' ;;
    esac
"#;

#[test]
fn the_obedient_agent_keeps_to_the_schemas() {
    let setup = installed();
    setup.docker(DOCKER);
    // The session checks each message of the agent.
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let snapshot = session.request(1, "metrics_collect", json!({}));
    assert_eq!(snapshot.result()["container_health"], json!({"web": "none"}));
    assert_eq!(session.next_notification("health_snapshot"), *snapshot.result());

    let lines = json!([{"ts": "2026-01-01T00:00:00.000000001Z", "text": "hello"},
                       {"ts": "2026-01-01T00:00:01Z", "text": "oops", "from": "stderr"}]);
    let plain = session.request(2, "logs_fetch", json!({"container": "web"}));
    assert_eq!(plain.result()["lines"], lines);
    let stream = session.request(3, "logs_fetch", json!({"container": "web", "stream": true}));
    assert_eq!(*stream.result(), json!({"lines": [], "streamed": 2}));
    assert_eq!(session.next_notification("logs_chunk")["lines"], lines);
    assert_eq!(session.request(4, "logs_fetch", json!({"container": "nope"})).code(), -32001);
    assert_eq!(session.broken_request(5, "logs_fetch", json!({"container": "-"})).code(), -32602);

    session.send_request("f", "logs_fetch", json!({"container": "web", "follow": true}));
    let chunks = [(); 2].map(|()| session.next_notification("logs_chunk"));
    assert_eq!((&chunks[0]["lines"], &chunks[1]["seq"]), (&lines, &json!(1)));
    let cancelled = session.request(6, "logs_cancel", json!({"id": "f"}));
    assert_eq!(*cancelled.result(), json!({"cancelled": true}));
    let end = session.response_to("f", support::PATIENCE);
    assert_eq!(*end.result(), json!({"lines": [], "streamed": 3, "ended": "cancelled"}));
    session.assert_quiet();
}

fn upgrade(session: &mut Session, url: &str, release: &Release) -> Value {
    let params = json!({"version": release.version, "download_url": url,
                        "checksum_sha256": release.sha256()});
    session.request("u", "agent_upgrade", params).result().clone()
}

fn next_register(peer: &Peer) -> (Session, Value) {
    let (mut session, register) = peer.accept_register(support::PATIENCE).expect("it dials");
    session.acknowledge();
    (session, register)
}

#[test]
fn the_obedient_agent_upgrades_itself() {
    let server = Server::plain();
    let (peer, _agent, mut session) = Agent::registered(installed());
    let release = Release { version: "1.1.0".to_owned(), bytes: program("1.1.0").into() };
    let how = Download::Slow(Duration::from_secs(2));
    let url = server.offer("agent?key=secret", release.bytes.clone(), how);
    assert_eq!(upgrade(&mut session, &url, &release), json!({"status": "upgrading"}));
    let progress = session.next_notification("upgrade_progress");
    assert_eq!(progress["stage"], "download");
    assert_eq!(session.expect_close(), 1001);
    let (_session, register) = next_register(&peer);
    assert_eq!(register["version"], "1.1.0");
    assert_eq!(register["upgrade"]["probation"]["version"], "1.1.0");
}

#[test]
fn the_obedient_agent_goes_back() {
    let server = Server::plain();
    let setup = installed().env("VMKIT_UPGRADE_PROBATION_SECS", "1");
    let (peer, agent, mut session) = Agent::registered(setup);
    // It says what it should and never starts.
    let script = "#!/bin/sh\n[ \"$1\" != --version ] || echo vmkit-agent 1.2.0\n";
    let release = Release { version: "1.2.0".to_owned(), bytes: script.into() };
    let url = server.offer("agent", release.bytes.clone(), Download::Whole);
    assert_eq!(upgrade(&mut session, &url, &release), json!({"status": "upgrading"}));
    assert_eq!(session.expect_close(), 1001);
    let (mut session, register) = next_register(&peer);
    assert_eq!(register["version"], "1.0.0");
    let told = &register["upgrade"]["rolled_back"][0];
    assert_eq!((&told["cause"], &told["banned"]), (&json!("never_started"), &json!(true)));
    let reported = session.next_notification("upgrade_rolled_back");
    assert_eq!(reported["checksum_sha256"], release.sha256());
    let is_back = || fs::read_to_string(agent.path("vmkit-agent")).ok();
    let text = poll_until("the installed file", support::PATIENCE, is_back);
    assert_eq!(text, program("1.0.0"));
}
