//! The syslog daemon: `syslog`'s logger on a datagram socket that never waits, and that is opened
//! again after the daemon was restarted.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;

use log::Level;
use syslog::{Facility, LogFormat, Logger, Severity};

const SOCKET: &str = "/dev/log";

pub type Syslog = Logger<Daemon, Rfc3164>;

/// A connected, non-blocking socket.
pub struct Daemon(UnixDatagram);

/// RFC 3164 without the time: the daemon adds its own, in the time zone of this machine.
pub struct Rfc3164;

/// # Errors
/// When no daemon listens.
pub fn connect() -> io::Result<Syslog> {
    Ok(Logger::new(Daemon::open()?, Rfc3164))
}

/// Sends one line. False if there is no daemon; a daemon that does not keep up loses the line.
pub fn write(daemon: &mut Syslog, level: Level, message: &str) -> bool {
    let written = match level {
        Level::Error => daemon.err(message),
        Level::Warn => daemon.warning(message),
        Level::Info => daemon.info(message),
        Level::Debug | Level::Trace => daemon.debug(message),
    };
    written.is_ok()
}

/// The severity of a level: what the journal calls its priority.
pub fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

impl Daemon {
    fn open() -> io::Result<Daemon> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        socket.set_nonblocking(true)?;
        Ok(Daemon(socket))
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self.0.send(datagram) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _lost_or_sent => Ok(()),
        }
    }
}

impl Write for Daemon {
    /// Sends `datagram` whole.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.send(datagram).is_err() {
            *self = Daemon::open()?;
            self.send(datagram)?;
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFormat<&str> for Rfc3164 {
    fn format<W: Write>(
        &self,
        daemon: &mut W,
        severity: Severity,
        message: &str,
    ) -> syslog::Result<()> {
        let (priority, pid) = (Facility::LOG_DAEMON as u8 | severity as u8, std::process::id());
        // In one piece: each write is a datagram.
        let line = format!("<{priority}>vmkit-agent[{pid}]: {message}");
        daemon.write_all(line.as_bytes()).map_err(syslog::Error::Write)
    }
}
