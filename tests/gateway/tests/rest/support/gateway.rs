//! The real `gateway`, in a scratch folder and on a free port. It ends with the test, however that ends:
//! its standard input closes.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use vmkit_test_support::Keys;

use super::client::Client;
use super::{PATIENCE, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_gateway");

pub struct Gateway {
    child: Child,
    folder: Folder,
    arguments: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    /// How many it was given.
    commands: u64,
    /// `http://…`.
    pub api: String,
    /// An API key with all scopes.
    pub key: String,
    /// An agent token for any instance.
    pub token: String,
}

/// The folder of a gateway's data, and the keys in it.
#[derive(Clone)]
pub struct Folder {
    folder: Arc<TempDir>,
    pub keys: Keys,
}

impl Folder {
    pub fn new() -> Folder {
        let folder = tempfile::Builder::new().prefix("vmkit-test-").tempdir();
        let folder = folder.expect("a scratch folder can be made");
        let keys = Keys::new(BINARY, folder.path().join("data"));
        Folder { folder: Arc::new(folder), keys }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Gateway {
    /// Polls nobody, unless told to.
    pub async fn start(arguments: &[&str]) -> Gateway {
        let folder = Folder::new();
        let (key, token) = (folder.keys.api("read,logs,operate"), folder.keys.agent(None));
        Gateway::start_in(folder, key, token, arguments).await
    }

    pub async fn start_in(
        folder: Folder,
        key: String,
        token: String,
        arguments: &[&str],
    ) -> Gateway {
        let arguments: Vec<String> =
            arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut command = Command::new(BINARY);
        let (child, log) = spawn(with_arguments(&mut command, &folder, &arguments));
        let mut gateway =
            Gateway { child, folder, arguments, log, commands: 0, api: String::new(), key, token };
        gateway.api = gateway.listening().await;
        gateway
    }

    /// Started by another program, such as a shell that sets limits: that gets the command line as `$@`.
    pub async fn start_by(folder: Folder, key: String, token: String, script: &str) -> Gateway {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", BINARY]);
        let (child, log) = spawn(with_arguments(&mut command, &folder, &[]));
        let arguments = Vec::new();
        let mut gateway =
            Gateway { child, folder, arguments, log, commands: 0, api: String::new(), key, token };
        gateway.api = gateway.listening().await;
        gateway
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// With all scopes.
    pub fn client(&self) -> Client {
        self.client_with(&self.key)
    }

    pub fn client_with(&self, key: &str) -> Client {
        Client::new(&self.api, Some(key))
    }

    /// Where it listens, `address:port`.
    pub fn address(&self) -> &str {
        self.api.strip_prefix("http://").expect("it is plain")
    }

    /// All lines that it has printed, on standard output and standard error.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// A line of its standard input. The answer is logged.
    pub fn give(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it has not ended");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// A line that has all of these words.
    pub async fn logged(&self, words: &[&str]) -> String {
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        let what = format!("a line with {words:?}");
        eventually(&what, async || self.log.lock().iter().find(has).cloned()).await
    }

    /// At once, as a crash does.
    pub fn kill(mut self) -> (Folder, String, String) {
        self.child.kill().expect("it is a child of ours");
        self.child.wait().expect("it is a child of ours");
        (self.folder.clone(), self.key.clone(), self.token.clone())
    }

    /// The whole answer to a line on standard input.
    pub async fn ask(&mut self, line: &str) -> Value {
        self.commands += 1;
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("it reads");
        let answer = self.logged(&[&format!("\"command\":{},", self.commands)]).await;
        serde_json::from_str(&answer).expect("it prints JSON")
    }

    /// In good order; the time that it took.
    pub fn end(&mut self) -> Duration {
        let started = Instant::now();
        drop(self.child.stdin.take());
        while self.child.try_wait().expect("it is a child of ours").is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
        started.elapsed()
    }

    /// Ends in good order and starts again, with the same arguments.
    pub async fn restart(mut self) -> Gateway {
        self.end();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let (folder, key, token) = (self.folder.clone(), self.key.clone(), self.token.clone());
        Gateway::start_in(folder, key, token, &arguments).await
    }

    async fn listening(&self) -> String {
        let line = self.logged(&["\"listening\""]).await;
        let line: Value = serde_json::from_str(&line).expect("it prints JSON");
        format!("http://{}", line["address"].as_str().expect("it has an address"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway's last lines:");
            let log = self.log.lock();
            log.iter().rev().take(30).rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A gateway that ends by itself, and what it said.
pub fn run(folder: &Folder) -> Output {
    let mut command = Command::new(BINARY);
    with_arguments(&mut command, folder, &[]).output().expect("the gateway is built")
}

/// A gateway that is killed before it has said anything, most likely.
pub fn start_and_kill(folder: &Folder, after: Duration) {
    let mut command = Command::new(BINARY);
    let (mut child, _) = spawn(with_arguments(&mut command, folder, &[]));
    thread::sleep(after);
    child.kill().expect("it is a child of ours");
    child.wait().expect("it is a child of ours");
}

fn with_arguments<'a>(
    command: &'a mut Command,
    folder: &Folder,
    arguments: &[String],
) -> &'a mut Command {
    let tls = arguments.iter().any(|argument| argument == "--ca-out");
    command.args((!tls).then_some("--plain")).args(["--poll", "0", "--data"]);
    command.arg(folder.data()).args(arguments)
}

fn spawn(command: &mut Command) -> (Child, Arc<Mutex<Vec<String>>>) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the gateway is built");
    let log = Arc::new(Mutex::new(Vec::new()));
    keep(child.stdout.take().expect("it is piped"), &log);
    keep(child.stderr.take().expect("it is piped"), &log);
    (child, log)
}

fn keep(output: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = log.clone();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            log.lock().push(line);
        }
    });
}
