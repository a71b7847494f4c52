//! The gateway as a child process: command lines in, JSON lines out.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::workplace::Workplace;

pub struct Gateway {
    /// For agents.
    pub url: String,
    /// For browsers and scripts.
    pub page: String,
    child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    given: u64,
}

impl Gateway {
    /// Returns when it listens.
    pub async fn start(program: &Path, workplace: &Workplace) -> Result<Gateway, String> {
        let cannot = |error| format!("starting {}: {error}", program.display());
        let mut child = Command::new(program)
            .args(["--poll", "3", "--page", "127.0.0.1:0", "--token-file"])
            .arg(workplace.token_file())
            .arg("--api-key-file")
            .arg(workplace.api_key_file())
            .arg("--ca-out")
            .arg(workplace.ca_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is the demo's to hear, which then ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let commands = child.stdin.take().expect("it was piped");
        let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let (url, page) = Default::default();
        let mut gateway = Gateway { url, page, child, commands, lines, given: 0 };
        let listening = timeout(Duration::from_secs(10), gateway.next())
            .await
            .map_err(|_| "the gateway does not listen after 10 s".to_owned())??;
        match (listening["url"].as_str(), listening["page"].as_str()) {
            (Some(url), Some(page)) => {
                gateway.url = url.to_owned();
                gateway.page = page.to_owned();
            }
            _ => return Err(format!("the gateway began with {listening}")),
        }
        Ok(gateway)
    }

    /// An event, or the answer to a command. Safe to cancel.
    pub async fn next(&mut self) -> Result<Value, String> {
        match self.lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line)
                .map_err(|error| format!("the gateway's {line}: {error}")),
            Ok(None) => Err("the gateway ended".to_owned()),
            Err(error) => Err(format!("reading from the gateway: {error}")),
        }
    }

    /// Gives a command; the answer will carry the number returned.
    pub async fn command(&mut self, line: &str) -> Result<u64, String> {
        self.given += 1;
        self.commands
            .write_all(format!("{line}\n").as_bytes())
            .await
            .map_err(|error| format!("the gateway takes no commands: {error}"))?;
        Ok(self.given)
    }

    /// A link that opens the page without a key, once.
    pub async fn sign_in_link(&mut self) -> Result<String, String> {
        let number = self.command("sign-in-link").await?;
        loop {
            let line = self.next().await?;
            if line["command"] == number {
                let url = line["answer"]["url"].as_str().map(str::to_owned);
                return url.ok_or_else(|| format!("no sign-in link: {line}"));
            }
        }
    }

    pub async fn stop(mut self) {
        // The end of its standard input ends it; dropped, it is killed.
        drop(self.commands);
        let _ = timeout(Duration::from_secs(3), self.child.wait()).await;
    }
}
