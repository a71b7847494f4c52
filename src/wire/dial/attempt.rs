//! What the phases of a dial share: the sleep, the deadline, the door for the resolver's process,
//! and the listener to whom each phase that is over is reported.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ureq::Proxy;

use super::failure::Error;
use crate::run::job::Children;
use crate::run::wait::Waiter;

/// All phases together take at most this long.
pub(super) const BUDGET: Duration = Duration::from_secs(20);

/// A dial that is under way.
pub struct Attempt<'a> {
    pub(super) waiter: &'a Rc<Waiter>,
    pub(super) children: &'a Rc<Children>,
    pub(super) deadline: Instant,
    pub(super) passed: &'a dyn Fn(Passed),
}

/// A phase that is over, and what it found.
pub enum Passed<'a> {
    Dns {
        host: &'a str,
        addresses: &'a [IpAddr],
    },
    Tcp(SocketAddr),
    Proxy(&'a Proxy),
    /// The protocol's version.
    Tls(&'static str),
}

impl<'a> Attempt<'a> {
    /// Begins now. `passed` hears of each phase but the last.
    pub fn new(
        waiter: &'a Rc<Waiter>,
        children: &'a Rc<Children>,
        passed: &'a dyn Fn(Passed),
    ) -> Attempt<'a> {
        Attempt { waiter, children, deadline: Instant::now() + BUDGET, passed }
    }

    /// Ends the waits to come at `end`, or at the deadline of the whole attempt if that is sooner.
    pub(super) fn until(&self, end: Instant) {
        self.waiter.set_deadline(Some(end.min(self.deadline)));
    }

    /// Must be called after every wake-up. True once the attempt's time is over.
    ///
    /// # Errors
    /// [`Error::Stopped`] after SIGTERM or SIGINT.
    pub(super) fn woken(&self) -> Result<bool, Error> {
        self.children.reap();
        if self.waiter.stopping() {
            return Err(Error::Stopped);
        }
        Ok(Instant::now() >= self.deadline)
    }
}
