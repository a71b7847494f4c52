//! The one place where the program sleeps: an epoll instance over the session's socket, the pipes
//! of children and the signals, and the deadline that the loop gave it.
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

use crate::run::notify::Manager;

/// What a watched descriptor can wake the program for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Read,
    Write,
    Both,
}

/// What the last wait ended for; a child's pipe or the deadline leave both false.
#[derive(Clone, Copy, Default, Debug)]
pub struct Woken {
    /// The session's socket is ready.
    pub socket: bool,
    /// A signal has asked the program to end, now or earlier.
    pub stop: bool,
}

/// Sleeps until something happens. One for the whole program, shared by whoever must wait.
pub struct Waiter {
    epoll: OwnedFd,
    stop_signal: UnixStream,
    child_signal: UnixStream,
    stopping: Cell<bool>,
    child_ended: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    /// Whether there was a wait since the last look.
    waited: Cell<bool>,
    /// Whose watchdog is fed before every sleep: this is where the whole program passes by.
    manager: OnceCell<Rc<Manager>>,
}

const SOCKET: u64 = 0;
const PIPE: u64 = 1;
const STOP: u64 = 2;
const CHILD: u64 = 3;

impl Waiter {
    /// Installs the handlers of SIGCHLD and of what is to end the program.
    pub fn new() -> io::Result<Rc<Waiter>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop_signal = signal_pipe(&endings())?;
        let child_signal = signal_pipe(&[SIGCHLD])?;
        epoll::add(&epoll, &stop_signal, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &child_signal, epoll::EventData::new_u64(CHILD), epoll::EventFlags::IN)?;
        Ok(Rc::new(Waiter {
            epoll,
            stop_signal,
            child_signal,
            stopping: Cell::new(false),
            child_ended: Cell::new(false),
            deadline: Cell::new(None),
            waited: Cell::new(false),
            manager: OnceCell::new(),
        }))
    }

    /// From now on sleeps end early enough to feed this one's watchdog.
    pub fn answer_to(&self, manager: Rc<Manager>) {
        // There is but one.
        let _ = self.manager.set(manager);
    }

    /// Until when waits may last from now on; `None` is for ever.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Sleeps until a watched descriptor is ready, a signal arrives or the deadline has passed.
    pub fn wait(&self) -> io::Result<Woken> {
        self.waited.set(true);
        let now = Instant::now();
        let fed_until = self.manager.get().and_then(|manager| manager.feed(now));
        let deadline = self.deadline.get().into_iter().chain(fed_until).min();
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            // Whole milliseconds, rounded up: the kernel's epoll_wait knows no finer ones, and
            // rounded down the last of them would be spent spinning.
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
                STOP => {
                    empty(&self.stop_signal);
                    self.stopping.set(true);
                }
                CHILD => {
                    empty(&self.child_signal);
                    self.child_ended.set(true);
                }
                _ => {}
            }
        }
        woken.stop = self.stopping.get();
        Ok(woken)
    }

    /// Sees the signals after a turn that found too much to do to sleep. Once a turn, or a gateway
    /// that never pauses would hide them.
    pub fn look(&self) -> io::Result<()> {
        if !self.waited.replace(false) {
            self.set_deadline(Some(Instant::now()));
            self.wait()?;
            self.waited.set(false);
        }
        Ok(())
    }

    /// A signal has asked the program to end.
    pub fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Whether a child has ended since this was last asked.
    pub fn take_child_ended(&self) -> bool {
        self.child_ended.take()
    }

    /// Wakes for the session's socket; closing the descriptor ends it.
    pub fn watch_socket(&self, socket: &impl AsFd, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(SOCKET), flags(interest))?)
    }

    pub fn change_socket(&self, socket: &impl AsFd, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(SOCKET), flags(interest))?)
    }

    /// Wakes for what a child writes; closing the descriptor ends it.
    pub fn watch_pipe(&self, pipe: &impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, pipe, epoll::EventData::new_u64(PIPE), epoll::EventFlags::IN)?)
    }

    /// No longer wakes for a pipe that is left unread for a while.
    pub fn ignore_pipe(&self, pipe: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, pipe)?)
    }
}

/// Does nothing for a while. Not for the loop: for a program that has nothing else to do.
pub fn pause(duration: Duration) {
    let timeout = Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    // A signal ends it early, which is as good.
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::Write => epoll::EventFlags::OUT,
        Interest::Both => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}

/// The signals that are to end the program. SIGHUP is one, unless somebody has seen to it that it
/// is none, as nohup does.
pub fn endings() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let mut signals = vec![SIGTERM, SIGINT];
    signals.extend((ignored & 1 << (SIGHUP - 1) == 0).then_some(SIGHUP));
    signals
}

fn signal_pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for &signal in signals {
        pipe::register(signal, write.try_clone()?)?;
    }
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
