//! The official client in Python, as a process of its own.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use vmkit_test_support::venv;

use crate::PATIENCE;
use crate::gateway::Gateway;

pub struct Client {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// What the server said of itself, or why the client did not come in.
    pub greeting: Value,
}

impl Client {
    /// `mode` is `auto` or `legacy`.
    pub async fn connect(gateway: &Gateway, key: &str, mode: &str) -> Client {
        let mut command = Command::new(venv(file("requirements.txt")).join("bin/python"));
        command.arg(file("client.py")).args([gateway.url().as_str(), key, mode]);
        command.args(gateway.ca()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("Python is there");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut client = Client { _child: child, stdin, stdout, greeting: Value::Null };
        client.greeting = client.line().await;
        client
    }

    pub async fn tools(&mut self) -> Vec<Value> {
        let listed = self.ask(json!({"tools": true})).await;
        listed["tools"].as_array().unwrap_or_else(|| panic!("no tools: {listed}")).clone()
    }

    /// The structured content of a call that must succeed.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let mut said = self.ask(json!({"call": tool, "arguments": arguments})).await;
        assert_eq!(said["error"], false, "{tool}: {said}");
        let text = said["texts"][0].as_str().unwrap_or_default();
        let same: Value = serde_json::from_str(text).unwrap_or_default();
        assert_eq!(same, said["structured"], "both forms of the content are the same");
        said["structured"].take()
    }

    /// The line of a call that must fail.
    pub async fn fail(&mut self, tool: &str, arguments: Value) -> String {
        let said = self.ask(json!({"call": tool, "arguments": arguments})).await;
        assert_eq!(said["error"], true, "{tool}: {said}");
        let line = said["texts"][0].as_str().unwrap_or_else(|| panic!("no text: {said}"));
        assert!(line.starts_with(&format!("{tool}: ")) && line.lines().count() == 1, "{line:?}");
        line.to_owned()
    }

    pub async fn ask(&mut self, ask: Value) -> Value {
        self.send(ask).await;
        self.line().await
    }

    pub async fn send(&mut self, ask: Value) {
        self.stdin.write_all(format!("{ask}\n").as_bytes()).await.expect("it reads");
    }

    pub async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.expect("it answers in time");
        let line = line.expect("text").expect("it lives");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

fn file(name: &str) -> String {
    format!("{}/tests/mcp/{name}", env!("CARGO_MANIFEST_DIR"))
}
