//! Where the log goes: the journal where standard error is connected to it, a terminal where
//! somebody watches, else syslog, else plain standard error.
//!
//! A daemon is not to hang because its log does: what journal and syslog don't take at once is
//! lost. Only our own records are shown, as a library's could hold the token; and of ours, which
//! repeat what a gateway says, the token is blotted out.
//!
//! A gateway must not fill the disk with log lines. A line that a gateway can cause has the target
//! [`PEER`] or [`SESSION`], and of these only so many are written ([`limit`]); debug lines count
//! too. How many were left out is said before the next line, of any kind, that comes when the
//! 10 s are over, and always before a line that is not counted, such as the last one: no timer wakes
//! the agent for it. Not counted are lines about an upgrade from the swap on, and about what the
//! agent itself could not do.

mod limit;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

use crate::config::Token;
use crate::host::timestamp::Timestamp;
use limit::{About, Limit};

/// The target of a line about what a gateway has sent, and what came of it.
pub const PEER: &str = "vmkit_agent::peer";
/// The target of a line about a session's beginning or end.
pub const SESSION: &str = "vmkit_agent::session";

const TARGET: &str = "vmkit_agent";
const SYSLOG: &str = "/dev/log";
/// The facility of system daemons, in its place above the priority.
const DAEMON: u8 = 3 << 3;
/// What a pipe takes whole where it takes anything.
const PIPE_BUF: usize = 4096;

/// What no line may hold.
static SECRET: Mutex<Option<Token>> = Mutex::new(None);

/// From now on this token is in no line.
pub fn hide(token: &Token) {
    if let Ok(mut secret) = SECRET.lock() {
        *secret = Some(token.clone());
    }
}

/// Installs the logger.
pub fn start(level: LevelFilter) {
    let logger = Logger { sink: Sink::find(), limit: Mutex::default() };
    let logger = Box::leak(Box::new(logger));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

struct Logger {
    sink: Sink,
    limit: Mutex<Limit>,
}

enum Sink {
    /// `<priority>line`, which journald reads; it adds the time itself.
    Journal,
    Stderr,
    Syslog(Mutex<Syslog>),
}

impl Sink {
    fn find() -> Sink {
        if is_journal() {
            Sink::Journal
        } else if io::stderr().is_terminal() {
            Sink::Stderr
        } else {
            Syslog::connect().map_or(Sink::Stderr, |syslog| Sink::Syslog(Mutex::new(syslog)))
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with(TARGET)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let about = match record.target() {
            PEER => Some(About::Message),
            SESSION => Some(About::Session),
            _ => None,
        };
        if let Ok(mut limit) = self.limit.lock() {
            let now = Instant::now();
            if let Some(count) = limit.left_out(now, about.is_none()) {
                let count = format!("{count} lines about the gateway's messages were left out");
                self.write(Level::Info, count);
            }
            if about.is_some_and(|about| !limit.admits(now, about)) {
                return;
            }
        }
        self.write(record.level(), record.args().to_string());
    }

    fn flush(&self) {}
}

impl Logger {
    fn write(&self, level: Level, message: String) {
        // What others have said may be part of a message; a record stays one line all the same.
        let mut message = message.replace(char::is_control, " ");
        if let Ok(secret) = SECRET.lock()
            && let Some(token) = &*secret
        {
            message = token.blot_out(message);
        }
        match &self.sink {
            Sink::Journal => {
                let line = format!("<{}>{message}\n", priority(level));
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match rustix::net::send(io::stderr(), line.as_bytes(), flags) {
                    Err(rustix::io::Errno::NOTSOCK) => print(&line),
                    _lost_or_sent => {}
                }
            }
            Sink::Stderr => print(&format!("{} {level:5} {message}\n", Timestamp::now())),
            Sink::Syslog(syslog) => {
                let kept = syslog.lock().is_ok_and(|mut syslog| syslog.write(level, &message));
                if !kept {
                    print(&format!("{} {level:5} {message}\n", Timestamp::now()));
                }
            }
        }
    }
}

/// A datagram socket to the syslog daemon that is opened anew when the daemon was restarted.
struct Syslog {
    socket: UnixDatagram,
}

impl Syslog {
    fn connect() -> io::Result<Syslog> {
        Ok(Syslog { socket: open_syslog()? })
    }

    /// False if there is no daemon to take it; a daemon that does not keep up loses it.
    fn write(&mut self, level: Level, message: &str) -> bool {
        let (priority, pid) = (DAEMON | priority(level), std::process::id());
        // RFC 3164 but for the time: the daemon's own is in the zone that this machine shows.
        let datagram = format!("<{priority}>vmkit-agent[{pid}]: {message}");
        self.send(datagram.as_bytes()) || self.reopen() && self.send(datagram.as_bytes())
    }

    fn send(&self, datagram: &[u8]) -> bool {
        match self.socket.send(datagram) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn reopen(&mut self) -> bool {
        open_syslog().map(|socket| self.socket = socket).is_ok()
    }
}

fn open_syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Writes to standard error, unless that would wait for its reader.
fn print(line: &str) {
    let mut stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        // A pipe that is ready takes this much; and nowhere is left to say that it did not.
        let end = line.floor_char_boundary(PIPE_BUF - 1);
        let whole = &line[..end];
        let _ = stderr.write_all(whole.as_bytes());
        if end < line.len() {
            let _ = stderr.write_all(b"\n");
        }
    }
}

/// `JOURNAL_STREAM` is inherited by everything a service starts, so it counts only where it names
/// the very file that standard error is.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
