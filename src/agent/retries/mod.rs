//! From a failure to the next attempt: how long the loop waits, and whether the failure is logged.

mod backoff;
mod idle_cuts;
mod repeats;

use std::time::{Duration, Instant};

use crate::logging::SESSION;
use crate::wire::session::Lost;
use backoff::Backoff;
use idle_cuts::IdleCuts;
use repeats::Repeats;

#[derive(Default)]
pub struct Retries {
    backoff: Backoff,
    repeats: Repeats,
    idle_cuts: IdleCuts,
}

impl Retries {
    /// Logs a failure, and returns its line with the time when the next attempt is due. `kind`
    /// tells failures apart: the same kind again is not logged for a while. The next attempt is not
    /// due before `retry_after`.
    pub fn failed(
        &mut self,
        now: Instant,
        kind: &str,
        failure: &str,
        retry_after: Option<Duration>,
    ) -> (String, Instant) {
        let delay = self.backoff.delay(backoff::random(), retry_after);
        let next = format!("next try in {:.1} s", delay.as_secs_f64());
        if let Some(failure) = self.repeats.say(now, kind, failure) {
            log::warn!(target: SESSION, "{failure}; {next}");
        }
        (format!("{failure}; {next}"), now + delay)
    }

    /// The gateway has accepted this agent: the next failure is news again.
    pub fn registered(&mut self) {
        self.repeats.clear();
    }

    /// A session has ended that was registered at `registered`, if ever. Returns what to add to the
    /// words about its end.
    pub fn session_ended(
        &mut self,
        registered: Option<Instant>,
        now: Instant,
        why: &Lost,
    ) -> String {
        self.backoff.session_ended(registered, now);
        let age = registered.map(|since| now.saturating_duration_since(since));
        self.idle_cuts.session_ended(age.filter(|_| why.is_cut()))
    }
}
