//! Tells the service manager how the agent is, by the protocol of sd_notify(3): datagrams of
//! `NAME=value` lines to the manager's socket. Without such a socket all of this does nothing.
//!
//! The agent does not depend on the manager: a message that is not taken at once is lost, or sent
//! again later. Only `READY=1` may wait, because systemd ends a service that does not become ready.

use std::cell::{Cell, RefCell};
use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, SocketAddrUnix, sendto};

/// The manager's variables. No child may inherit them: its messages would count as the agent's.
pub const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG, WATCHDOG_PID];
const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How long `READY=1` may wait for a busy manager.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a feeding that the manager did not take the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// The service manager, if one listens.
pub struct Manager {
    listener: Option<(UnixDatagram, SocketAddrUnix)>,
    watchdog: Option<Watchdog>,
    /// The last status that the manager has taken.
    status: RefCell<String>,
}

/// A watchdog that ends the agent unless it is fed in time.
struct Watchdog {
    limit: Duration,
    fed: Cell<Instant>,
    /// After a feeding that was not taken: not before this time.
    again: Cell<Instant>,
}

impl Manager {
    /// The manager that started this process.
    pub fn from_environment(now: Instant) -> Manager {
        let listener = env::var_os(SOCKET)
            .and_then(|name| Some((UnixDatagram::unbound().ok()?, address(&name)?)));
        let microseconds = env::var(WATCHDOG).ok().and_then(|text| text.parse().ok());
        // The watchdog may be meant for another process of the service.
        let ours = env::var(WATCHDOG_PID).map_or(true, |pid| pid == std::process::id().to_string());
        let limit = microseconds.filter(|&limit| ours && limit > 0).map(Duration::from_micros);
        let watchdog = limit.filter(|_| listener.is_some()).map(|limit| Watchdog {
            limit,
            fed: Cell::new(now),
            again: Cell::new(now),
        });
        Manager { listener, watchdog, status: RefCell::default() }
    }

    /// The agent's loop runs from now on, connected or not.
    pub fn ready(&self) {
        if let Some((socket, _)) = &self.listener {
            let _ = socket.set_write_timeout(Some(PATIENCE));
        }
        self.send("READY=1", SendFlags::empty());
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1", SendFlags::DONTWAIT);
    }

    /// What `systemctl status` shows.
    pub fn status(&self, text: &str) {
        // A line feed would begin another assignment.
        let text = text.replace(|character: char| character.is_control(), " ");
        if *self.status.borrow() != text
            && self.send(&format!("STATUS={text}"), SendFlags::DONTWAIT)
        {
            self.status.replace(text);
        }
    }

    /// To be called before each sleep. Feeds the watchdog if a feeding is due, and says when the
    /// sleep has to end for the next one.
    ///
    /// systemd's manual asks for a feeding in each half of the limit. An agent at rest wakes about
    /// that often anyway. So a wake-up from a third of the limit on is used, and one is made for the
    /// feeding alone at two thirds.
    pub fn feed(&self, now: Instant) -> Option<Instant> {
        let Watchdog { limit, fed, again } = self.watchdog.as_ref()?;
        if now >= (fed.get() + *limit / 3).max(again.get()) {
            match self.send("WATCHDOG=1", SendFlags::DONTWAIT) {
                true => fed.set(now),
                false => again.set(now + AGAIN.min(*limit / 6)),
            }
        }
        Some((fed.get() + *limit * 2 / 3).max(again.get()))
    }

    /// True if the manager took the message.
    fn send(&self, assignment: &str, flags: SendFlags) -> bool {
        let Some((socket, address)) = &self.listener else { return false };
        sendto(socket, assignment.as_bytes(), flags | SendFlags::NOSIGNAL, address).is_ok()
    }
}

/// A path, or after an `@` a name of the kernel's.
fn address(name: &OsStr) -> Option<SocketAddrUnix> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name).ok(),
        path @ [b'/', ..] => SocketAddrUnix::new(path).ok(),
        // Other addresses, such as vsock, are for managers of virtual machines.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(limit: Duration, now: Instant) -> (Manager, UnixDatagram) {
        let name = format!("@vmkit-test-notify-{}-{limit:?}", std::process::id());
        let address = address(OsStr::new(&name)).unwrap();
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::DGRAM,
            None,
        );
        let socket = UnixDatagram::from(socket.unwrap());
        rustix::net::bind(&socket, &address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = Some((UnixDatagram::unbound().unwrap(), address));
        let (fed, again) = (Cell::new(now), Cell::new(now));
        let watchdog = Some(Watchdog { limit, fed, again });
        (Manager { listener, watchdog, status: RefCell::default() }, socket)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 200];
        let next = || socket.recv(&mut buffer).ok().map(|count| buffer[..count].to_vec());
        std::iter::from_fn(next).map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn a_wake_up_that_comes_anyway_is_used() {
        let start = Instant::now();
        let seconds = |count| start + Duration::from_secs(count);
        let (manager, socket) = manager(Duration::from_secs(60), start);
        assert_eq!(manager.feed(seconds(19)), Some(seconds(40)));
        assert_eq!(heard(&socket), [""; 0]);
        // The heartbeat's.
        assert_eq!(manager.feed(seconds(30)), Some(seconds(70)));
        assert_eq!(manager.feed(seconds(31)), Some(seconds(70)));
        assert_eq!(manager.feed(seconds(70)), Some(seconds(110)));
        assert_eq!(heard(&socket), ["WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn what_is_not_taken_is_said_again_and_not_at_once() {
        let start = Instant::now();
        let (manager, socket) = manager(Duration::from_secs(30), start);
        drop(socket);
        let late = start + Duration::from_secs(20);
        assert_eq!(manager.feed(late), Some(late + AGAIN));
        assert_eq!(manager.feed(late), Some(late + AGAIN));
    }

    #[test]
    fn a_status_is_one_line_and_said_once() {
        let (manager, socket) = manager(Duration::from_secs(1), Instant::now());
        manager.status("lost\nREADY=1");
        manager.status("lost\nREADY=1");
        manager.ready();
        manager.stopping();
        assert_eq!(heard(&socket), ["STATUS=lost READY=1", "READY=1", "STOPPING=1"]);
    }

    #[test]
    fn only_paths_and_names_are_addresses() {
        for (name, good) in [("/run/x", true), ("@x", true), ("vsock:2:1", false), ("", false)] {
            assert_eq!(address(OsStr::new(name)).is_some(), good, "{name}");
        }
    }
}
