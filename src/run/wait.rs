//! Where the loop sleeps: an epoll instance over the session's socket, the pipes
//! of children and the signals, and the deadline that the loop gave it.
//!
//! ```text
//! who sleeps                                              what wakes it
//!
//! agent::next_event, without a session ---------+         the session's socket
//! agent::next_event, with one                   |         output of a child
//!   Session::turn                               |         the end of a child (SIGCHLD)
//!     tungstenite's read                        |         SIGTERM, SIGINT, SIGHUP
//!       Metered::read, which counts frames      |         the deadline
//!         Transport::read, TLS or not           |         the watchdog's next feeding
//!           Wire::rest -------------------------+
//! each phase of a dial -------------------------+--> Waiter::wait
//! Captured::finish, outside of the loop --------+
//! ```
//!
//! tungstenite's read has no parameter for a deadline, so the caller sets it beforehand with
//! [`Waiter::set_deadline`].
//!
//! Readiness is level-triggered and nothing is remembered between two waits, so a wake-up that
//! goes unused costs one turn of the loop and never an event.

use std::cell::{Cell, OnceCell};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// For what a watched socket wakes the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Read,
    Write,
    Both,
}

/// Why a wait ended. Both are false after a child's output, its end or the deadline.
#[derive(Clone, Copy, Default, Debug)]
pub struct Woken {
    /// The session's socket is ready, or of a dial's several sockets one.
    pub socket: bool,
    /// A signal has asked the program to end, now or earlier.
    pub stop: bool,
}

/// Sleeps until something happens. The program has one, which all that wait share.
pub struct Waiter {
    epoll: OwnedFd,
    /// The signals that end the program, and the pipe of each.
    stop_signals: Vec<(i32, UnixStream)>,
    child_signal: UnixStream,
    stopping: Cell<Option<i32>>,
    child_ended: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    /// Whether there was a wait since the last look.
    waited: Cell<bool>,
    before_each_sleep: OnceCell<Box<dyn Fn(Instant) -> Option<Instant>>>,
}

const SOCKET: u64 = 0;
const PIPE: u64 = 1;
const CHILD: u64 = 2;
/// From here on: the index of a signal that ends the program.
const STOP: u64 = 3;

impl Waiter {
    /// Installs the handlers of SIGCHLD and of the signals that end the program.
    ///
    /// # Errors
    /// The operating system gives no epoll instance, pipe or signal handler.
    pub fn new() -> io::Result<Rc<Waiter>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |pipe: &UnixStream, event| {
            epoll::add(&epoll, pipe, epoll::EventData::new_u64(event), epoll::EventFlags::IN)
        };
        let child_signal = signal_pipe(SIGCHLD)?;
        watch(&child_signal, CHILD)?;
        let mut stop_signals = Vec::new();
        for (signal, event) in endings().into_iter().zip(STOP..) {
            let pipe = signal_pipe(signal)?;
            watch(&pipe, event)?;
            stop_signals.push((signal, pipe));
        }
        Ok(Rc::new(Waiter {
            epoll,
            stop_signals,
            child_signal,
            stopping: Cell::new(None),
            child_ended: Cell::new(false),
            deadline: Cell::new(None),
            waited: Cell::new(false),
            before_each_sleep: OnceCell::new(),
        }))
    }

    /// From now on `due` is called before each sleep, and says when the sleep has to end for it.
    pub fn before_each_sleep(&self, due: impl Fn(Instant) -> Option<Instant> + 'static) {
        // It is set once: the program has one service manager.
        let _ = self.before_each_sleep.set(Box::new(due));
    }

    /// When the waits from now on end at the latest; `None`: never.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Sleeps until a watched descriptor is ready, a signal arrives or the deadline has passed.
    ///
    /// # Errors
    /// The operating system's; not an interruption by a signal.
    pub fn wait(&self) -> io::Result<Woken> {
        self.waited.set(true);
        let now = Instant::now();
        let due = self.before_each_sleep.get().and_then(|due| due(now));
        let deadline = self.deadline.get().into_iter().chain(due).min();
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            // Whole milliseconds, because epoll_wait takes no finer time. Rounded up: rounded down,
            // the program would spin through the last one.
            let milliseconds = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i64;
            Timespec { tv_sec: milliseconds / 1000, tv_nsec: (milliseconds % 1000) * 1_000_000 }
        });
        let mut events = [MaybeUninit::uninit(); 16];
        let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        let mut woken = Woken::default();
        for event in ready {
            match event.data.u64() {
                SOCKET => woken.socket = true,
                CHILD => {
                    empty(&self.child_signal);
                    self.child_ended.set(true);
                }
                PIPE => {}
                event => {
                    let index = usize::try_from(event - STOP).unwrap_or(usize::MAX);
                    if let Some((signal, pipe)) = self.stop_signals.get(index) {
                        empty(pipe);
                        self.stopping.set(Some(*signal));
                    }
                }
            }
        }
        woken.stop = self.stopping();
        Ok(woken)
    }

    /// Looks for signals and the ends of children after a turn that did not wait. To be called once
    /// a turn: a gateway that sends without a pause would hide them.
    pub fn look(&self) -> io::Result<()> {
        if !self.waited.replace(false) {
            self.set_deadline(Some(Instant::now()));
            self.wait()?;
            self.waited.set(false);
        }
        Ok(())
    }

    /// Whether a signal has asked the program to end.
    pub fn stopping(&self) -> bool {
        self.stopping.get().is_some()
    }

    /// The name of the signal that has asked the program to end.
    pub fn stop_signal(&self) -> Option<&'static str> {
        self.stopping.get().map(|signal| match signal {
            SIGTERM => "SIGTERM",
            SIGINT => "SIGINT",
            _ => "SIGHUP",
        })
    }

    /// Whether a child has ended since this was last asked.
    pub fn take_child_ended(&self) -> bool {
        self.child_ended.take()
    }

    /// From now on this socket ends waits, until it is closed. A dial watches several: they race.
    pub fn watch_socket(&self, socket: &impl AsFd, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(SOCKET), flags(interest))?)
    }

    /// Changes what a watched socket ends waits for.
    pub fn change_socket(&self, socket: &impl AsFd, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(SOCKET), flags(interest))?)
    }

    /// From now on a child's output ends waits, until the pipe is closed.
    pub fn watch_pipe(&self, pipe: &impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, pipe, epoll::EventData::new_u64(PIPE), epoll::EventFlags::IN)?)
    }

    /// From now on a child's output ends no wait.
    pub fn ignore_pipe(&self, pipe: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, pipe)?)
    }
}

/// Does nothing for a while. Not for the loop, which sleeps in [`Waiter::wait`] alone.
pub fn pause(duration: Duration) {
    let timeout = Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    // A signal may end it early: callers look again at what they wait for.
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::Write => epoll::EventFlags::OUT,
        Interest::Both => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}

/// The signals that end the program. SIGHUP is left out if the program was started with SIGHUP
/// ignored, as nohup does.
pub fn endings() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let mut signals = vec![SIGTERM, SIGINT];
    signals.extend((ignored & 1 << (SIGHUP - 1) == 0).then_some(SIGHUP));
    signals
}

fn signal_pipe(signal: i32) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    pipe::register(signal, write)?;
    Ok(read)
}

fn empty(mut pipe: &UnixStream) {
    let mut scratch = [0; 64];
    while matches!(pipe.read(&mut scratch), Ok(count) if count == scratch.len()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let waiter = Waiter::new().unwrap();
        let deadline = Instant::now() + Duration::from_micros(20_300);
        waiter.set_deadline(Some(deadline));
        waiter.wait().unwrap();
        // The children of other tests of this process wake this one too.
        while waiter.take_child_ended() {
            waiter.wait().unwrap();
        }
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_deadline_in_the_past_returns_at_once() {
        let waiter = Waiter::new().unwrap();
        waiter.set_deadline(Some(Instant::now() - Duration::from_secs(5)));
        let woken = waiter.wait().unwrap();
        assert!(!woken.socket && !woken.stop);
    }
}
