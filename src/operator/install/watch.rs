//! Whether the agent that was just started gets to be registered, and what it says if it does not.
//! systemd knows the agent's own word for how it is; elsewhere its log is looked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Error, say};
use crate::host::init::{self, Init, REGISTERED};
use crate::run::job::Children;
use crate::run::wait::Waiter;

/// What the agent writes to standard error under OpenRC.
pub const OWN_LOG: &str = "/var/log/vmkit-agent.log";
/// Where syslog daemons put it.
const LOGS: [&str; 4] = [OWN_LOG, "/var/log/messages", "/var/log/syslog", "/var/log/daemon.log"];
/// How often to look.
const PACE: Duration = Duration::from_millis(250);
/// So many of its last lines tell what is wrong.
const LINES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Watch<'a> {
    init: Init,
    children: &'a Rc<Children>,
    /// How long each log was.
    logs: Vec<(&'static str, u64)>,
}

impl Watch<'_> {
    /// To be made right before the agent is started: what was logged earlier does not count.
    pub fn new(init: Init, children: &Rc<Children>) -> Watch<'_> {
        let length = |path| std::fs::metadata(path).map_or(0, |log| log.len());
        let logs = LOGS.iter().map(|&path| (path, length(path))).collect();
        Watch { init, children, logs }
    }

    /// What the agent says of itself once it is registered.
    ///
    /// # Errors
    /// When it is not by then; its log has been shown.
    pub fn until_registered(&self, waiter: &Waiter, within: Duration) -> Result<String, Error> {
        let end = Instant::now() + within;
        loop {
            if let Some(said) = self.registered() {
                return Ok(said);
            }
            let now = Instant::now();
            if now >= end || waiter.stopping() {
                break;
            }
            waiter.set_deadline(Some(end.min(now + PACE)));
            waiter.wait().map_err(|error| Error::Failed(error.to_string()))?;
        }
        // It may have no other way to say so than its log.
        let log = self.log();
        if let Some(line) = log.iter().rfind(|line| line.contains(REGISTERED)) {
            return Ok(line.clone());
        }
        self.show(&log);
        Err(Error::Failed(format!(
            "installed and started, but not registered {}; it goes on trying; to find out why: \
             vmkit-agent doctor",
            match waiter.stopping() {
                true => "yet".to_owned(),
                false => format!("within {} s", within.as_secs()),
            }
        )))
    }

    pub fn show_log(&self) {
        self.show(&self.log());
    }

    fn show(&self, log: &[String]) {
        if log.is_empty() {
            let command = self.init.log_command();
            say(&format!("the agent's log is not where it usually is; try {command}"));
        }
        for line in log {
            say(&format!("the agent: {line}"));
        }
    }

    fn registered(&self) -> Option<String> {
        match self.init {
            Init::Systemd => {
                let state = self.init.state(self.children).ok()?;
                (state.active && !state.unsettled && state.status.starts_with(REGISTERED))
                    .then_some(state.status)
            }
            Init::OpenRc | Init::None => {
                self.log().into_iter().rfind(|line| line.contains(REGISTERED))
            }
        }
    }

    /// Its last lines.
    fn log(&self) -> Vec<String> {
        let lines = match self.init {
            Init::Systemd => self.journal(),
            Init::OpenRc | Init::None => {
                self.logs.iter().flat_map(|&(path, length)| own_lines(path, length)).collect()
            }
        };
        lines[lines.len().saturating_sub(LINES)..].to_vec()
    }

    /// What it has logged since it was last started, and systemd about it.
    fn journal(&self) -> Vec<String> {
        let run = |command: &[&str]| init::run(command, PATIENCE, self.children);
        let show = ["systemctl", "show", "--property=InvocationID", "--value", "vmkit-agent"];
        let id = run(&show).unwrap_or_default();
        let agents = format!("_SYSTEMD_INVOCATION_ID={}", id.trim());
        let systemds = format!("INVOCATION_ID={}", id.trim());
        let lines = format!("--lines={LINES}");
        let how = ["journalctl", "--no-pager", "--quiet", "--output=cat", &lines];
        let printed = run(&[&how[..], &[&agents, "+", &systemds]].concat());
        printed.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// The agent's lines in the log at `path`, beyond the first `length` bytes.
fn own_lines(path: &str, length: u64) -> Vec<String> {
    const LIMIT: u64 = 1024 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(Path::new(path))?;
        // One that is shorter by now was begun anew.
        let from = if file.metadata()?.len() < length { 0 } else { length };
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let own = |line: &&str| path == OWN_LOG || line.contains("vmkit-agent");
    text.lines().filter(own).map(str::to_owned).collect()
}
