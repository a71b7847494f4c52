//! Whether the agent that was just started gets to be registered, and what it says if it does not.
//!
//! Any user can write to the log under the agent's name, so the log is only shown. Believed are
//! systemd, which knows the agent's own word for how it is, the agent's own lines in the journal,
//! and, under OpenRC, what arrives at a socket that only root can send to.

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
/// Where syslog daemons put it.
const LOGS: [&str; 4] = [OWN_LOG, "/var/log/messages", "/var/log/syslog", "/var/log/daemon.log"];
/// How often to look.
const PACE: Duration = Duration::from_millis(250);
/// So many of its last lines tell what is wrong.
const LINES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Watch<'a> {
    init: Init,
    listener: Option<Listener>,
    children: &'a Rc<Children>,
    /// How long each log was.
    logs: Vec<(&'static str, u64)>,
}

impl Watch<'_> {
    /// To be made right before the agent is started: what was logged earlier does not count.
    pub fn new(init: Init, children: &Rc<Children>) -> Watch<'_> {
        let length = |path| std::fs::metadata(path).map_or(0, |log| log.len());
        let logs = LOGS.iter().map(|&path| (path, length(path))).collect();
        let listener = (init == Init::OpenRc).then(Listener::new).flatten();
        Watch { init, listener, children, logs }
    }

    /// What the agent says of itself once it is registered.
    ///
    /// # Errors
    /// When it is not by then; its log has been shown.
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
        // Where the unit has no Type=notify, the agent has no other way to say so.
        let own = if self.init == Init::Systemd { self.journal(&[]) } else { Vec::new() };
        if let Some(line) = own.into_iter().rfind(|line| line.starts_with(REGISTERED)) {
            return Ok(line);
        }
        self.show_log();
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

    /// Its last lines.
    fn log(&self) -> Vec<String> {
        let lines = match self.init {
            // systemd's lines about the agent too.
            Init::Systemd => self.journal(&["+", "INVOCATION_ID="]),
            Init::OpenRc | Init::None => {
                self.logs.iter().flat_map(|&(path, length)| own_lines(path, length)).collect()
            }
        };
        lines[lines.len().saturating_sub(LINES)..].to_vec()
    }

    /// What the agent has logged since it was last started, and what more matches.
    fn journal(&self, more: &[&str]) -> Vec<String> {
        let run = |command: &[&str]| command::run(command, PATIENCE, self.children);
        let show = ["systemctl", "show", "--property=InvocationID", "--value", "vmkit-agent"];
        let id = run(&show).unwrap_or_default();
        let id = id.trim();
        let lines = format!("--lines={LINES}");
        let mut command = ["journalctl", "--no-pager", "--quiet", "--output=cat", &lines]
            .map(String::from)
            .to_vec();
        for word in ["_SYSTEMD_INVOCATION_ID="].iter().chain(more) {
            command.push(if word.ends_with('=') {
                format!("{word}{id}")
            } else {
                word.to_string()
            });
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        run(&command).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// A socket for what the agent says by sd_notify(3). The init script hands its path on while it is
/// there. Only root can make files in its folder, and only root can send to it.
struct Listener {
    socket: UnixDatagram,
    /// A process has been started since; what an older process says does not count.
    is_ready: bool,
}

/// The path that the init script looks at.
const NOTIFY: &str = "/run/vmkit-agent.notify";

impl Listener {
    fn new() -> Option<Listener> {
        files::remove(Path::new(NOTIFY)).ok()?;
        let socket = UnixDatagram::bind(NOTIFY).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Listener { socket, is_ready: false })
    }

    /// The agent's status, once it says that it is registered.
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
