//! The example for authors of a gateway, `dist/protocol/gateway.py`: it serves a real agent.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::schemas::Conversation;
use crate::support::{Authority, Log, PATIENCE, Scratch, Setup, TOKEN, poll_until, venv};

struct Gateway {
    child: Child,
    commands: ChildStdin,
    log: Log,
    authority: Authority,
    _scratch: Scratch,
}

impl Gateway {
    #[track_caller]
    fn start() -> Gateway {
        let (scratch, authority) = (Scratch::new(), Authority::new());
        let certificate = scratch.write("identity.pem", authority.good().pem);
        // Ends with the test, also where the test is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(venv(file("requirements.txt")).join("bin/python"));
        command.arg(file("gateway.py")).arg("0");
        command.arg(certificate).env("GATEWAY_TOKEN", TOKEN);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("util-linux is installed");
        let log = Log::of(child.stdout.take().expect("piped"));
        let commands = child.stdin.take().expect("piped");
        Gateway { child, commands, log, authority, _scratch: scratch }
    }

    fn url(&self) -> String {
        let line = self.wait_for(&["listening"]);
        let port: String = line.chars().filter(char::is_ascii_digit).collect();
        format!("wss://localhost:{port}/api/daemon")
    }

    /// An agent of this gateway's.
    fn agent(&self) -> Setup {
        Setup::url(self.url()).trusting(&self.authority)
    }

    #[track_caller]
    fn wait_for(&self, words: &[&str]) -> String {
        let line = self.log.wait_for(0, words, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?} in {:#?}", self.log.lines()))
    }

    /// Holds what both sides have said against the schemas: the gateway shows each request that it sends
    /// and each message that it gets, but snapshots that come twice.
    #[track_caller]
    fn assert_by_the_schemas(&self) {
        let mut conversation = Conversation::default();
        let mut checked = [0, 0];
        for line in self.log.lines() {
            let shown: Value = serde_json::from_str(&line).expect("it prints JSON");
            if let Some(request) = shown.get("request") {
                conversation.from_gateway(&request.to_string());
                checked[0] += 1;
            }
            if let Some(message) = shown.get("message") {
                conversation.from_agent(&message.to_string());
                checked[1] += 1;
            }
        }
        assert!(checked[0] > 1 && checked[1] > 1, "{checked:?} of {:#?}", self.log.lines());
    }

    fn command(&mut self, line: &str) {
        writeln!(self.commands, "{line}").expect("it reads its commands");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn it_asks_for_metrics_and_fetches_logs() {
    let mut gateway = Gateway::start();
    let setup = gateway.agent();
    setup.docker("[ $1 != logs ] || echo \"2026-01-01T00:00:00.000000001Z $* hello\"");
    let agent = setup.start();
    gateway.wait_for(&["registered", "vmkit-test-instance"]);
    gateway.wait_for(&["message", "cpu_pct"]);
    gateway.command("agents");
    gateway.wait_for(&[r#"{"agents": ["vmkit-test-instance"]}"#]);
    gateway.command("logs vmkit-test-instance web 7");
    gateway.wait_for(&["message", "--tail 7 web hello"]);
    gateway.command("logs nobody web 7");
    gateway.wait_for(&["failed", "nobody"]);
    let pid = Pid::from_child(&gateway.child);
    kill_process(pid, Signal::TERM).expect("it runs");
    agent.wait_for_log(&["the gateway closed the session (1001"]);
    let end = poll_until("the gateway's end", PATIENCE, || gateway.child.try_wait().unwrap());
    assert!(end.success(), "{end}");
    gateway.wait_for(&["closed", "1001"]);
    gateway.assert_by_the_schemas();
}

#[test]
fn it_follows_logs_and_cancels() {
    let mut gateway = Gateway::start();
    let setup = gateway.agent();
    setup.docker(
        "[ $1 != logs ] || { echo \"2026-01-01T00:00:00.000000001Z $* hello\"; sleep 300; }",
    );
    let agent = setup.start();
    agent.wait_for_log(&["registered"]);
    gateway.wait_for(&["registered", "logs_follow"]);
    gateway.command("follow vmkit-test-instance web");
    let request = gateway.wait_for(&["request", "logs_fetch"]);
    gateway.wait_for(&["message", "logs_chunk", "--follow web hello"]);
    let id = request.split("\"id\": ").nth(1).expect("it has an id");
    let id: String = id.chars().take_while(char::is_ascii_digit).collect();
    gateway.command(&format!("cancel vmkit-test-instance {id}"));
    gateway.wait_for(&["message", "\"cancelled\": true"]);
    gateway.wait_for(&["message", "\"streamed\": 1", "\"ended\": \"cancelled\""]);
    gateway.assert_by_the_schemas();
}

#[test]
fn it_closes_the_older_of_two_sessions() {
    let gateway = Gateway::start();
    let older = gateway.agent().start();
    older.wait_for_log(&["registered"]);
    let newer = gateway.agent().start();
    newer.wait_for_log(&["registered"]);
    older.wait_for_log(&["4409"]);
    gateway.wait_for(&["closed", "4409"]);
}

#[test]
fn it_refuses_another_token_and_another_path() {
    let gateway = Gateway::start();
    let agent = gateway.agent().env("VMKIT_AGENT_TOKEN", "another").start();
    agent.wait_for_log(&["refuses the token (401)"]);
    let elsewhere = gateway.url().replace("daemon", "elsewhere");
    let agent = gateway.agent().env("VMKIT_GATEWAY_URL", elsewhere).start();
    agent.wait_for_log(&["404"]);
    assert_eq!(gateway.log.lines().len(), 1, "{:#?}", gateway.log.lines());
}

fn file(name: &str) -> String {
    format!("{}/dist/protocol/{name}", env!("CARGO_MANIFEST_DIR"))
}
