//! The reference gateway follows a container of a real agent: what docker prints comes out of REST as
//! server-sent events, and a reader who leaves ends docker.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::follow::{BY_PIPES, Printer};
use crate::support::{Log, PATIENCE, Setup, TOKEN, group_members, poll_until};

const KEY: &str = "vmk_test0123456789abcdefghijklmnopqrstuvwxyz";

struct Gateway {
    child: Child,
    log: Log,
    address: String,
}

impl Gateway {
    #[track_caller]
    fn start() -> Gateway {
        let this = std::env::current_exe().expect("the kernel knows it");
        let program = this.ancestors().nth(2).expect("cargo's layout").join("gateway");
        assert!(program.is_file(), "{} is missing; run make gateway", program.display());
        // Ends with the test, also where the test is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command.args(["--plain", "--no-stdin", "--poll", "0"]);
        command.env("GATEWAY_TOKEN", TOKEN).env("GATEWAY_API_KEY", KEY);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("util-linux is installed");
        let log = Log::of(child.stdout.take().expect("piped"));
        let line = log.wait_for(0, &["listening"], PATIENCE).expect("it listens");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        let url = event["url"].as_str().expect("its URL");
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        Gateway { child, log, address: address.to_owned() }
    }

    /// The events of a container's log as they come.
    fn follow(&self, container: &str) -> Events {
        let mut socket = TcpStream::connect(&self.address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let path =
            format!("/api/instances/vmkit-test-instance/logs?container={container}&follow=1");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {KEY}\r\n\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).expect("it reads");
        Events(BufReader::new(socket))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

struct Events(BufReader<TcpStream>);

impl Events {
    /// The data of the next event of this name.
    #[track_caller]
    fn next(&mut self, name: &str) -> Value {
        let (mut line, mut named) = (String::new(), false);
        loop {
            line.clear();
            let count = self.0.read_line(&mut line).expect("an event in time");
            assert!(count > 0, "the gateway has ended the answer");
            match line.trim_end().split_once(':') {
                Some(("event", event)) => named = event.trim() == name,
                Some(("data", data)) if named => return serde_json::from_str(data).expect("JSON"),
                _ => {}
            }
        }
    }
}

#[test]
fn it_hands_on_the_lines_of_a_real_agent() {
    let gateway = Gateway::start();
    let setup = Setup::url(format!("ws://{}/api/daemon", gateway.address));
    let mut web = Printer::new(&setup, "web");
    let mut api = Printer::new(&setup, "api");
    let docker = setup.docker(BY_PIPES);
    let agent = setup.start();
    agent.wait_for_log(&["registered as"]);
    gateway.log.wait_for(0, &["registered"], PATIENCE).expect("the gateway says so");

    web.print("hello");
    let mut events = gateway.follow("web");
    let line = |text: &str, nanosecond: u32| json!({"ts": format!("2026-01-01T00:00:00.{nanosecond:09}Z"), "text": text});
    let lines = events.next("lines");
    assert_eq!(lines, json!({"lines": [line("hello", 1)], "dropped": 0}));
    web.complain("oops");
    let mut oops = line("oops", 2);
    oops["from"] = json!("stderr");
    assert_eq!(events.next("lines"), json!({"lines": [oops], "dropped": 0}));

    // The container ends.
    drop(web);
    let end = events.next("end");
    assert!(end.to_string().contains("container"), "{end}");

    // A reader leaves.
    api.print("hello");
    let mut events = gateway.follow("api");
    events.next("lines");
    drop(events);
    // The gateway may notice with the next line only.
    api.print("again");
    api.print("and again");
    agent.wait_for_log(&["logs_fetch: api:", "ended: cancelled"]);
    let call = docker.calls().pop().expect("the second");
    poll_until("docker's end", PATIENCE, || group_members(call.pid).is_empty().then_some(()));
}
