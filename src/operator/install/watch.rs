//! Waits until the gateway has accepted the agent that was just started, and else shows its log.
//!
//! Any user can write to the log under the agent's name, so the log is only shown. Three sources
//! are believed: the status that systemd has from the agent, the agent's own lines in the journal,
//! and, under OpenRC, messages at a socket that only root can send to.

use crate::host::files;
use crate::run::command;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::error::Error;
use crate::host::init::{Init, REGISTERED};
use crate::operator::output::say;
use crate::run::job::Children;
use crate::run::wait::Waiter;

/// What the agent writes to standard error under OpenRC.
pub const OWN_LOG: &str = "/var/log/vmkit-agent.log";
/// The files to which syslog daemons write it.
const LOGS: [&str; 4] = [OWN_LOG, "/var/log/messages", "/var/log/syslog", "/var/log/daemon.log"];
/// The time between two looks.
const PACE: Duration = Duration::from_millis(250);
/// So many of the last lines of the log are shown.
const LINES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Watch<'a> {
    init: Init,
    listener: Option<Listener>,
    children: &'a Rc<Children>,
    /// Each log, and its length in bytes when this watch began.
    logs: Vec<(&'static str, u64)>,
}

impl Watch<'_> {
    /// Make it right before the agent is started: earlier lines of the log do not count.
    pub fn new(init: Init, children: &Rc<Children>) -> Watch<'_> {
        let length = |path| std::fs::metadata(path).map_or(0, |log| log.len());
        let logs = LOGS.iter().map(|&path| (path, length(path))).collect();
        let listener = (init == Init::OpenRc).then(Listener::new).flatten();
        Watch { init, listener, children, logs }
    }

    /// The agent's status once it is registered.
    ///
    /// # Errors
    /// That the agent is not registered `within` this time. Its log has been shown.
    pub fn until_registered(&mut self, waiter: &Waiter, within: Duration) -> Result<String, Error> {
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
        // Where the unit has no Type=notify, systemd has no status of the agent.
        let own = if self.init == Init::Systemd { self.journal() } else { Vec::new() };
        if let Some(line) = own.into_iter().rfind(|line| line.starts_with(REGISTERED)) {
            return Ok(line);
        }
        self.show_log();
        let how_long = match waiter.stopping() {
            true => "yet".to_owned(),
            false => format!("within {} s", within.as_secs()),
        };
        Err(Error::Failed(format!(
            "installed and running, but the gateway has not accepted it {how_long}; it keeps \
             trying; run: sudo vmkit-agent doctor"
        )))
    }

    pub fn show_log(&self) {
        self.show(&self.log());
    }

    fn show(&self, log: &[String]) {
        if log.is_empty() {
            let command = self.init.log_command();
            say(&format!("found no log lines of the agent; run: sudo {command}"));
        }
        for line in log {
            say(&format!("agent log: {line}"));
        }
    }

    fn registered(&mut self) -> Option<String> {
        match self.init {
            Init::Systemd => {
                let state = self.init.state(self.children).ok()?;
                (state.active && !state.unsettled && state.status.starts_with(REGISTERED))
                    .then_some(state.status)
            }
            Init::OpenRc | Init::None => self.listener.as_mut().and_then(Listener::registered),
        }
    }

    /// The last lines of the log.
    fn log(&self) -> Vec<String> {
        let lines = match self.init {
            Init::Systemd => self.journal(),
            Init::OpenRc | Init::None => {
                self.logs.iter().flat_map(|&(path, length)| own_lines(path, length)).collect()
            }
        };
        lines[lines.len().saturating_sub(LINES)..].to_vec()
    }

    /// The last lines that the agent has logged since its last start. systemd's own lines about the
    /// service are not among them.
    fn journal(&self) -> Vec<String> {
        let run = |command: &[&str]| command::run(command, PATIENCE, self.children);
        let show = ["systemctl", "show", "--property=InvocationID", "--value", "vmkit-agent"];
        let id = run(&show).unwrap_or_default();
        let own = format!("_SYSTEMD_INVOCATION_ID={}", id.trim());
        let lines = format!("--lines={LINES}");
        let log = ["journalctl", "--no-pager", "--quiet", "--output=cat", &lines, &own];
        run(&log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// A socket for the agent's sd_notify(3) messages under OpenRC. While the socket is there, the init
/// script hands its path on to the agent. Only root can make it and send to it.
struct Listener {
    socket: UnixDatagram,
    /// A new agent has said that it is ready. Earlier messages are from an older agent.
    is_ready: bool,
}

/// The init script looks for this path.
const NOTIFY: &str = "/run/vmkit-agent.notify";

impl Listener {
    fn new() -> Option<Listener> {
        files::remove(Path::new(NOTIFY)).ok()?;
        let socket = UnixDatagram::bind(NOTIFY).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Listener { socket, is_ready: false })
    }

    /// The agent's status once the agent is registered.
    fn registered(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            self.is_ready |= text == "READY=1";
            let status = text.strip_prefix("STATUS=").filter(|_| self.is_ready);
            if let Some(status) = status.filter(|status| status.starts_with(REGISTERED)) {
                return Some(status.to_owned());
            }
        }
        None
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = files::remove(Path::new(NOTIFY));
    }
}

/// The agent's lines in the log at `path`, beyond the first `length` bytes.
fn own_lines(path: &str, length: u64) -> Vec<String> {
    const LIMIT: u64 = 1024 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(Path::new(path))?;
        // A log that is shorter than before was rotated.
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
