//! The session that `dist/protocol.md` shows, and `dist/protocol/session.ndjson` holds whole: a real agent
//! with a real docker, asked for all that it can do, and put down with names and figures that stay the
//! same. Where the agent says something else by now, the test says so; this writes it anew:
//!
//!     UPDATE_SESSION=1 cargo test --locked --test agent captured_session

mod normal;
mod page;
mod recorder;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Container, Download, OWN_VERSION, PATIENCE, Peer, Release, Server, Setup, docker, poll_until,
};
use normal::Normal;
use recorder::Recorder;

/// Without an init system, this long until a version that does not start is rolled back.
const PROBATION: &str = "8";
/// Longer than the five seconds after which the agent tells how far it is.
const DOWNLOAD: Duration = Duration::from_secs(7);

#[test]
fn the_session_on_the_page_is_what_the_agent_says() {
    let (server, peer) = (Server::plain(), Peer::plain());
    let script = "echo hello; sleep 0.1; echo oops >&2; exec sleep 600";
    let container =
        Container::running(&["--health-cmd", "true", "--health-interval", "1s"], script);
    poll_until("a healthy container", PATIENCE, || {
        let health = docker(&["inspect", "--format", "{{.State.Health.Status}}", &container.name]);
        (health.trim() == "healthy").then_some(())
    });
    let setup = Setup::url(peer.url()).installed();
    let setup = setup.env("VMKIT_INSTANCE_ID", "web-1").env("VMKIT_LABELS", "env=prod,role=db");
    let _agent = setup.env("VMKIT_UPGRADE_PROBATION_SECS", PROBATION).start();

    let mut recorder = Recorder::default();
    let capabilities = begin(&mut recorder, &peer);
    ask_for_a_snapshot(&mut recorder);
    ask_for_logs(&mut recorder, &container, &capabilities);
    make_mistakes(&mut recorder);
    upgrade(&mut recorder, &peer, &server);
    recorder.scene("close");
    recorder.close();

    let mut normal = Normal::new(&container.name, &container.id());
    let entries = recorder.entries.iter().map(|entry| normal.entry(entry)).collect::<Vec<_>>();
    page::compare_or_update(&entries);
}

/// What the agent says it can do.
fn begin(recorder: &mut Recorder, peer: &Peer) -> Vec<Value> {
    recorder.scene("dial");
    recorder.open(peer.accept_upgraded());
    recorder.scene("register");
    let register = recorder.hear();
    recorder.answer(&register, r#"{"ok":true}"#);
    register["params"]["capabilities"].as_array().cloned().unwrap_or_default()
}

fn ask_for_a_snapshot(recorder: &mut Recorder) {
    recorder.scene("snapshot");
    recorder.ask(r#""m""#, "metrics_collect", "");
    recorder.hear_result();
    assert_eq!(recorder.hear()["method"], "health_snapshot");
}

fn ask_for_logs(recorder: &mut Recorder, container: &Container, capabilities: &[Value]) {
    let name = &container.name;
    recorder.scene("logs");
    recorder.ask("7", "logs_fetch", &format!(r#"{{"container":"{name}","lines":2}}"#));
    recorder.hear_result();
    recorder.scene("stream");
    let params = format!(r#"{{"container":"{name}","lines":2,"stream":true}}"#);
    recorder.ask("8", "logs_fetch", &params);
    assert_eq!(recorder.hear()["method"], "logs_chunk");
    recorder.hear_result();
    if capabilities.contains(&json!("logs_since")) {
        recorder.scene("since");
        let since = r#""since":"2100-01-01T00:00:00Z""#;
        recorder.ask("9", "logs_fetch", &format!(r#"{{"container":"{name}",{since}}}"#));
        recorder.hear_result();
    }
    if capabilities.contains(&json!("logs_follow")) {
        recorder.scene("follow");
        let params = format!(r#"{{"container":"{name}","lines":1,"follow":true}}"#);
        recorder.ask("10", "logs_fetch", &params);
        assert_eq!(recorder.hear()["method"], "logs_chunk");
        docker(&["exec", name, "sh", "-c", "echo again > /proc/1/fd/1"]);
        assert_eq!(recorder.hear()["method"], "logs_chunk");
        recorder.ask("11", "logs_cancel", r#"{"id":10}"#);
        recorder.hear_result();
        recorder.hear_result();
    }
}

fn make_mistakes(recorder: &mut Recorder) {
    recorder.scene("errors");
    recorder.ask("12", "logs_fetch", r#"{"container":"nope"}"#);
    recorder.hear_error();
    recorder.ask_wrongly(r#"{"jsonrpc":"2.0","id":13,"method":"logs_fetch","params":{"lines":2}}"#);
    recorder.hear_error();
    recorder.ask("14", "no_such_method", "{}");
    recorder.hear_error();
    recorder.ask_wrongly("{");
    recorder.hear_error();
}

/// An upgrade that is refused, an upgrade that is rolled back, and an upgrade that succeeds.
fn upgrade(recorder: &mut Recorder, peer: &Peer, server: &Server) {
    recorder.scene("upgrade refused");
    let next = Release::next();
    let url = server.offer("agent", next.bytes.clone(), Download::Slow(DOWNLOAD));
    let other = Release::script("");
    let broken = server.offer("broken", other.bytes.clone(), Download::Whole);
    recorder.ask(r#""u1""#, "agent_upgrade", &params(&broken, &next));
    recorder.hear_error();

    recorder.scene("upgrade rolled back");
    let failing = Release::script("exit 1");
    let failing_url = server.offer("failing", failing.bytes.clone(), Download::Whole);
    recorder.ask(r#""u2""#, "agent_upgrade", &params(&failing_url, &failing));
    recorder.hear_result();
    recorder.hear_close();
    let register = register_again(recorder, peer);
    assert_eq!(register["params"]["version"], *OWN_VERSION);
    assert_eq!(recorder.hear()["method"], "upgrade_rolled_back");

    recorder.scene("upgrade");
    recorder.ask(r#""u3""#, "agent_upgrade", &params(&url, &next));
    assert_eq!(recorder.hear()["method"], "upgrade_progress");
    recorder.hear_result();
    recorder.hear_close();
    let register = register_again(recorder, peer);
    assert_eq!(register["params"]["version"], *next.version);
}

/// The next session, registered.
fn register_again(recorder: &mut Recorder, peer: &Peer) -> Value {
    let dial = peer.accept_within(3 * PATIENCE).expect("the agent comes back");
    let register = recorder.reopen(dial.switch());
    recorder.answer(&register, r#"{"ok":true}"#);
    register
}

fn params(url: &str, release: &Release) -> String {
    let (version, checksum) = (&release.version, release.sha256());
    format!(r#"{{"version":"{version}","download_url":"{url}","checksum_sha256":"{checksum}"}}"#)
}
