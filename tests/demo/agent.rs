//! The agent as a child process, with the demo in journald's place: it gets the agent's log lines.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::workplace::Workplace;

pub const INSTANCE: &str = "demo";

pub struct Agent {
    program: PathBuf,
    child: Child,
    log: Lines<BufReader<pipe::Receiver>>,
}

impl Agent {
    pub fn start(program: &Path, url: &str, workplace: &Workplace) -> Result<Agent, String> {
        spawn(program, url, workplace)
            .map_err(|error| format!("starting {}: {error}", program.display()))
    }

    /// A line of its log, as journald would get it; an error once it has ended. Safe to cancel.
    pub async fn next(&mut self) -> Result<String, String> {
        match self.log.next_line().await {
            Ok(Some(line)) => Ok(line),
            Err(error) => Err(format!("reading the agent's log: {error}")),
            Ok(None) => match self.child.wait().await {
                Ok(status) => Err(format!("the agent ended: {status}")),
                Err(error) => Err(format!("waiting for the agent: {error}")),
            },
        }
    }

    /// As systemd does it: SIGTERM, its last words, and, dropped, SIGKILL.
    pub async fn stop(mut self, mut say: impl FnMut(&str)) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let last_words = async {
            while let Ok(line) = self.next().await {
                say(&line);
            }
        };
        let _ = timeout(Duration::from_secs(3), last_words).await;
    }
}

fn spawn(program: &Path, url: &str, workplace: &Workplace) -> io::Result<Agent> {
    let (reader, writer) = io::pipe()?;
    let file = fstat(&writer)?;
    let child = Command::new(program)
        .env("VMKIT_AGENT_TOKEN", workplace.token())
        .env("VMKIT_GATEWAY_URL", url)
        .env("VMKIT_CA_FILE", workplace.ca_file())
        .env("VMKIT_INSTANCE_ID", INSTANCE)
        .env("STATE_DIRECTORY", workplace.path().join("state"))
        // This is how the agent knows that a journal is at the other end, and not to use syslog.
        .env("JOURNAL_STREAM", format!("{}:{}", file.st_dev, file.st_ino))
        // To the agent a proxy is a proxy, also on the way to loopback.
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let log = BufReader::new(pipe::Receiver::from_owned_fd(reader.into())?).lines();
    Ok(Agent { program: program.to_owned(), child, log })
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        match std::fs::metadata(&self.program) {
            Ok(metadata) => write!(f, ", {:.2} MB", metadata.len() as f64 / 1e6),
            Err(_) => Ok(()),
        }
    }
}
