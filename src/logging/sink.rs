//! The journal, standard error or syslog: where lines go, and how each wants them.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use log::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::net::SendFlags;

use super::syslog_daemon::{self, Syslog};
use crate::host::timestamp::Timestamp;

/// A pipe that is ready takes so many bytes at once.
const PIPE_BUF: usize = 4096;

pub enum Sink {
    /// `<priority>line`, which journald reads; it adds the time itself.
    Journal,
    Stderr,
    Syslog(Mutex<Syslog>),
}

impl Sink {
    /// The sink for this process; see [`crate::logging`] for the order.
    pub fn find() -> Sink {
        if is_journal() {
            Sink::Journal
        } else if is_read() {
            Sink::Stderr
        } else {
            let daemon = syslog_daemon::connect();
            daemon.map_or(Sink::Stderr, |daemon| Sink::Syslog(Mutex::new(daemon)))
        }
    }

    /// Writes one line, or loses it where that would wait.
    pub fn write(&self, level: Level, message: &str) {
        let taken = match self {
            Sink::Journal => {
                let line = format!("<{}>{message}\n", syslog_daemon::severity(level) as u8);
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match rustix::net::send(io::stderr(), line.as_bytes(), flags) {
                    Err(rustix::io::Errno::NOTSOCK) => print(&line),
                    _lost_or_sent => {}
                }
                true
            }
            Sink::Stderr => false,
            Sink::Syslog(daemon) => daemon
                .lock()
                .is_ok_and(|mut daemon| syslog_daemon::write(&mut daemon, level, message)),
        };
        if !taken {
            print(&format!("{} {level:5} {message}\n", Timestamp::now()));
        }
    }
}

/// Writes to standard error, unless that would wait for its reader.
fn print(line: &str) {
    let mut stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        let end = line.floor_char_boundary(PIPE_BUF - 1);
        let (whole, rest) = line.split_at(end);
        // There is nowhere to say that it failed.
        let _ = stderr.write_all(whole.as_bytes());
        if !rest.is_empty() {
            let _ = stderr.write_all(b"\n");
        }
    }
}

/// What comes before an error on standard error: its priority, where that is the journal.
pub fn error_mark() -> &'static str {
    if is_journal() { "<3>" } else { "" }
}

/// Whether standard error is the journal. `JOURNAL_STREAM` is inherited by everything that a service
/// starts, so it counts only if it names the very file that standard error is.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether a person or a program reads standard error: a terminal, or a pipe (`2>&1 | tee log`).
fn is_read() -> bool {
    let is_pipe = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    io::stderr().is_terminal() || fstat(io::stderr()).is_ok_and(is_pipe)
}
