//! The real `gateway` of a test, on loopback, with a key for people and a token for agents.

use std::fs::File;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use vmkit_test_support::{Log, PATIENCE, Scratch};

pub const KEY: &str = "vmk_test-key-of-the-browser-tests-0123456789";
pub const TOKEN: &str = "vmkit-test-token";

pub struct Gateway {
    child: Child,
    commands: ChildStdin,
    said: Log,
    port: u16,
}

impl Gateway {
    /// The folder of its data is in `scratch`. On port 0 it finds a free one.
    #[track_caller]
    pub fn start(scratch: &Scratch, port: u16) -> Gateway {
        let (key, token) = (scratch.write("key", KEY), scratch.write("token", TOKEN));
        // Ends with the test, also where the test is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_gateway"), "--plain"]);
        command.arg("--api-key-file").arg(key).arg("--token-file").arg(token);
        command.arg("--data").arg(scratch.path().join("data"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--poll", "1", "--log", "debug"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log(scratch));
        let mut child = command.spawn().expect("util-linux is installed");
        let said = Log::of(child.stdout.take().expect("piped"));
        let commands = child.stdin.take().expect("piped");
        let line = said.wait_for(0, &["listening"], PATIENCE).expect("it says where it listens");
        let line: Value = serde_json::from_str(&line).expect("one object a line");
        let address = line["address"].as_str().expect("an address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        Gateway { child, commands, said, port: port.expect("a port") }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn command(&mut self, line: &str) {
        writeln!(self.commands, "{line}").expect("it reads its commands");
    }

    /// What it has said, an object a line.
    pub fn said(&self) -> Vec<String> {
        self.said.lines()
    }
}

/// What it logs is kept over a restart.
fn log(scratch: &Scratch) -> File {
    let path = scratch.path().join("gateway.log");
    File::options().create(true).append(true).open(path).expect("own folder")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}
