//! The reference gateway as a process of its own, driven by its commands.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, scratch};

pub use vmkit_test_support::TOKEN;

pub struct Gateway {
    pub url: String,
    /// The certificate of its authority.
    pub ca: PathBuf,
    child: Child,
    commands: Mutex<(ChildStdin, u64)>,
    said: Arc<Said>,
}

/// A command's error: the agent's, or without a code the gateway's own.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: Option<i64>,
    pub message: String,
}

/// All that the gateway has printed, with the time when it was read.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<Event>>,
    more: Condvar,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    pub value: Value,
}

impl Gateway {
    #[track_caller]
    pub fn start() -> Gateway {
        let folder = scratch();
        let ca = folder.join("ca.pem");
        let mut command = Command::new(program());
        command.args(["--poll", "0", "--ca-out"]).arg(&ca).env("GATEWAY_TOKEN", TOKEN);
        // It ends with its standard input, so also when the test run is ended.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take().expect("it was piped");
        let said = Arc::new(Said::default());
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        thread::spawn({
            let said = said.clone();
            move || said.take_in(stdout)
        });
        let commands = Mutex::new((stdin, 0));
        let mut gateway = Gateway { url: String::new(), ca, child, commands, said };
        let listening = gateway.wait_for(0, "listening", PATIENCE, |_| true);
        gateway.url = listening.value["url"].as_str().expect("it has one").to_owned();
        gateway
    }

    /// Gives a command and waits for its answer.
    #[track_caller]
    pub fn command(&self, line: &str) -> Result<Value, Refusal> {
        let number = self.give(line);
        self.answer(number, Duration::from_secs(120))
    }

    /// Gives a command without waiting; its number is for [`Gateway::answer`].
    pub fn give(&self, line: &str) -> u64 {
        let mut commands = self.commands.lock().expect("no holder panics");
        commands.0.write_all(format!("{line}\n").as_bytes()).expect("the gateway runs");
        commands.1 += 1;
        commands.1
    }

    #[track_caller]
    pub fn answer(&self, number: u64, within: Duration) -> Result<Value, Refusal> {
        let found = self.said.wait(0, within, |value| value["command"] == number);
        let Some(Event { value, .. }) = found else {
            panic!("the gateway has not answered command {number} within {within:?}");
        };
        match value.get("error") {
            None => Ok(value["answer"].clone()),
            Some(error) => Err(Refusal {
                code: error["code"].as_i64(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// How much it has said so far: where to look from for what comes later.
    pub fn mark(&self) -> usize {
        self.said.lines.lock().expect("no holder panics").len()
    }

    /// The first event of this name after `mark` that is `so`.
    #[track_caller]
    pub fn wait_for(
        &self,
        mark: usize,
        name: &str,
        within: Duration,
        so: impl Fn(&Value) -> bool,
    ) -> Event {
        let found = self.said.wait(mark, within, |value| value["event"] == name && so(value));
        found.unwrap_or_else(|| {
            let lines = self.since(mark);
            panic!("the gateway saw no such event {name} within {within:?}, but {lines:#?}")
        })
    }

    /// A `register` of this version that was acknowledged after `mark`.
    #[track_caller]
    pub fn wait_for_register(&self, mark: usize, version: &str, within: Duration) -> Event {
        self.wait_for(mark, "registered", within, |event| event["version"] == version)
    }

    /// The params of a notification of this method after `mark`.
    #[track_caller]
    pub fn wait_for_notification(&self, mark: usize, method: &str, within: Duration) -> Value {
        let event = self.wait_for(mark, "notification", within, |event| event["method"] == method);
        event.value["params"].clone()
    }

    /// All events of this name after `mark`.
    pub fn events(&self, mark: usize, name: &str) -> Vec<Event> {
        let mut events = self.since(mark);
        events.retain(|event| event.value["event"] == name);
        events
    }

    fn since(&self, mark: usize) -> Vec<Event> {
        self.said.lines.lock().expect("no holder panics")[mark..].to_vec()
    }
}

impl Said {
    fn take_in(&self, source: impl BufRead) {
        for line in source.lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).expect("the gateway prints JSON");
            let event = Event { at: Instant::now(), value };
            self.lines.lock().expect("no holder panics").push(event);
            self.more.notify_all();
        }
    }

    fn wait(&self, mark: usize, within: Duration, so: impl Fn(&Value) -> bool) -> Option<Event> {
        let deadline = Instant::now() + within;
        let mut lines = self.lines.lock().expect("no holder panics");
        loop {
            if let Some(found) = lines.iter().skip(mark).find(|event| so(&event.value)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.more.wait_timeout(lines, left).expect("no holder panics").0;
        }
    }
}

/// Built in the same profile as the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("the kernel knows it");
    let built = tests.ancestors().nth(2).expect("cargo's layout").join("gateway");
    assert!(
        built.exists(),
        "{} is not there: cargo build --package vmkit-gateway",
        built.display()
    );
    built
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
