//! Many large logs at once: each request is answered, and memory stays what it was.

use std::{
    fs::OpenOptions,
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::json;

use crate::support::{Agent, Authority, LogLine, PATIENCE, Peer, Setup};

const BUSY: i64 = -32004;
const IN_FLIGHT: usize = 32;
/// Beyond what may be in flight, to be refused.
const TOO_MANY: usize = 8;

/// Prints its files once the test has opened the pipe, so that all calls are in flight together.
const PRINTS: &str = r#"
    : <"$0.go"
    cat "$0.stdout"; cat "$0.stderr" >&2
"#;

/// `count` lines of docker's, from this one on.
fn lines(from: usize, count: usize, text: &str) -> String {
    let line = |n| format!("2026-01-01T{:02}:{:02}:{:02}Z {text}\n", n / 3600, n / 60 % 60, n % 60);
    (from..from + count).map(line).collect()
}

struct Flood {
    stdout: String,
    stderr: String,
    stream: bool,
}

impl Flood {
    fn run(&self) {
        // One flood takes the whole processor; several would only take the time of each other.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Under TLS, as outside of tests: what is encrypted is one more copy.
        let authority = Authority::new();
        let peer = Peer::tls(&authority.good());
        let setup = Agent::dialing(&peer).trusting(&authority);
        let go = setup.file("bin/docker.stdout", &self.stdout).replace(".stdout", ".go");
        let made = Command::new("mkfifo").arg(&go).status();
        assert!(made.is_ok_and(|status| status.success()));
        setup.file("bin/docker.stderr", &self.stderr);
        let docker = setup.docker(PRINTS);
        let agent = setup.start();
        let mut session = peer.accept_registered();
        for id in 0..IN_FLIGHT + TOO_MANY {
            let params = json!({"container": "web", "lines": 5000, "stream": self.stream});
            session.send_request(id, "logs_fetch", params);
        }
        for id in IN_FLIGHT..IN_FLIGHT + TOO_MANY {
            assert_eq!(session.response_to(id, PATIENCE).code(), BUSY);
        }
        docker.wait_for_calls("logs", IN_FLIGHT);
        let _go = OpenOptions::new().write(true).open(go).expect("just made");
        let newest = LogLine::merge(self.stdout.as_bytes(), self.stderr.as_bytes()).pop();
        let mut last = vec![None; IN_FLIGHT];
        let mut open = IN_FLIGHT;
        while open > 0 {
            let message = session.next_message();
            let result = message.get("result");
            let id = message.get("id").unwrap_or(&message["params"]["id"]).as_u64();
            let id = id.expect("one of ours") as usize;
            if let Some(result) = result {
                assert!(self.stream || result["truncated"] == true);
                open -= 1;
            } else {
                assert_eq!(message["method"], "logs_chunk", "{message:.300}");
            }
            if let Some(line) = LogLine::all_of(result.unwrap_or(&message["params"])).pop() {
                last[id] = Some(line);
            }
        }
        assert!(last.iter().all(|last| *last == newest), "the newest line is in each answer");
        assert_eq!(docker.calls().len(), IN_FLIGHT);
        session.assert_quiet();
        assert_small(&agent);
    }
}

/// The most that the agent ever had in memory, which `make bench` shows to the byte. The limit is
/// that of the release build: a debug build, which is what is tested where `VMKIT_AGENT_BIN` names
/// no other, is larger by itself.
#[track_caller]
pub fn assert_small(agent: &Agent) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB"));
    let peak: u64 = peak.expect("every process has one").trim().parse().expect("a number");
    if std::env::var_os("VMKIT_AGENT_BIN").is_some() {
        assert!(peak <= 5 * 1024, "{peak} KiB");
    }
}

#[test]
fn ordinary_lines() {
    let stdout = lines(0, 5000, &"x".repeat(300));
    Flood { stdout, stderr: String::new(), stream: false }.run();
}

#[test]
fn ordinary_lines_streamed() {
    let stdout = lines(0, 5000, &"x".repeat(300));
    Flood { stdout, stderr: String::new(), stream: true }.run();
}

#[test]
fn both_outputs_far_apart() {
    let text = "x".repeat(300);
    let (old, new) = (lines(0, 3000, &text), lines(3000, 3000, &text));
    Flood { stdout: old.clone(), stderr: new.clone(), stream: false }.run();
    Flood { stdout: new, stderr: old, stream: true }.run();
}

#[test]
fn lines_of_300_kb() {
    let stdout = lines(0, 30, &"é".repeat(150_000));
    Flood { stdout, stderr: String::new(), stream: false }.run();
}

#[test]
fn empty_lines() {
    let stdout = lines(0, 30_000, "");
    Flood { stdout, stderr: String::new(), stream: false }.run();
}

/// In JSON they are six times as long.
#[test]
fn control_characters() {
    let stdout = lines(0, 4000, &"\u{1}".repeat(300));
    Flood { stdout, stderr: String::new(), stream: false }.run();
}

/// One endless line that no container has written.
#[test]
fn nothing_that_looks_like_a_line() {
    let setup = Setup::new();
    setup.docker("tr '\\0' x < /dev/zero | head -c 50000000");
    let (_peer, agent, mut session) = Agent::registered(setup);
    for id in 0..4 {
        session.send_request(id, "logs_fetch", json!({"container": "web"}));
    }
    for id in 0..4 {
        assert_eq!(*session.response_to(id, PATIENCE).result(), json!({"lines": []}));
    }
    assert_small(&agent);
}
