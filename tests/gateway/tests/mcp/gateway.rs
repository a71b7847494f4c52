//! The real gateway, as a process of its own that ends with the test.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmkit_test_support::{Keys, port_of};

pub const TOKEN: &str = "vmkit-test-token";
const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

pub struct Gateway {
    child: Child,
    /// Its end ends the gateway, also where the test is killed.
    _stdin: ChildStdin,
    folder: TempDir,
    pub keys: Keys,
    port: u16,
    scheme: &'static str,
}

impl Gateway {
    pub fn start() -> Gateway {
        Gateway::with(&["--plain"])
    }

    #[track_caller]
    pub fn with(options: &[&str]) -> Gateway {
        let folder = tempfile::Builder::new().prefix("vmkit-test-").tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a new file");
        let mut command = Command::new(PROGRAM);
        command.arg("--data").arg(folder.path().join("data")).args(["--log", "trace"]);
        command.arg("--ca-out").arg(folder.path().join("ca.pem")).args(options);
        command.env("GATEWAY_TOKEN", TOKEN).env_remove("GATEWAY_API_KEY");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("cargo has built it");
        let stdin = child.stdin.take().expect("piped");
        let port = port_of(child.stdout.take().expect("piped"));
        let scheme = if options.contains(&"--plain") { "http" } else { "https" };
        let keys = Keys::new(PROGRAM, folder.path().join("data"));
        Gateway { child, _stdin: stdin, folder, keys, port, scheme }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}/mcp", self.scheme, self.port)
    }

    pub fn daemon_url(&self) -> String {
        format!("ws://localhost:{}/api/daemon", self.port)
    }

    pub fn ca(&self) -> Option<PathBuf> {
        (self.scheme == "https").then(|| self.folder.path().join("ca.pem"))
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("it logs")
    }

    /// A request that is good but for what the test changes.
    pub fn post(&self, key: &str) -> RequestBuilder {
        let ask = Client::new().post(self.url()).bearer_auth(key);
        ask.header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(call("list_instances", &json!({})).to_string())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the gateway's log:\n{}", self.log());
        }
    }
}

/// A call of a tool, in a revision of MCP without `initialize` before it.
pub fn call(tool: &str, arguments: &Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}
