//! All requests that come while a snapshot is taken share it. It answers each of them, and then goes
//! to the gateway as `health_snapshot`. Where the gateway does not read, the next snapshot waits until
//! this one is sent; requests share that one too.

use std::time::Instant;

use log::Level;

use super::metrics_collect::{Sample, Taken};
use crate::requests::context::Context;
use crate::requests::outcome::Answer;
use crate::wire::rpc::Id;

#[derive(Default)]
pub struct Snapshots {
    /// The number of the last snapshot that was started.
    number: u64,
    /// The snapshot that is being taken, or was taken and waits for the one before.
    next: Option<Next>,
    /// A finished snapshot, its answers and its notification not all sent.
    finished: Option<Finished>,
    /// The parts missing from the last snapshot, as logged.
    missing: String,
}

enum Next {
    Going(Box<Sample>),
    Waiting(Taken),
}

struct Finished {
    number: u64,
    taken: Taken,
}

impl Snapshots {
    /// The number of the snapshot that a new request gets; starts that snapshot where none is
    /// being taken.
    pub fn start(&mut self, context: Context) -> u64 {
        if self.next.is_none() {
            self.number += 1;
            self.next = Some(Next::Going(Box::new(Sample::start(context))));
        }
        self.number
    }

    /// Moves on as far as it goes without waiting. A snapshot is finished only after the one before
    /// was sent; but docker's output is always read, or it would wake the loop again and again.
    pub fn turn(&mut self, now: Instant) {
        let taken = match self.next.take() {
            None => return,
            Some(Next::Waiting(taken)) => taken,
            Some(Next::Going(mut sample)) => match sample.turn(now) {
                None => return self.next = Some(Next::Going(sample)),
                Some(snapshot) => Taken::from(snapshot),
            },
        };
        match self.finished {
            None => self.finished = Some(Finished { number: self.number, taken }),
            Some(_) => self.next = Some(Next::Waiting(taken)),
        }
    }

    /// The number of the finished snapshot, if the session has room for one more of its messages.
    pub fn finished(&self, is_drained: bool) -> Option<u64> {
        let finished = self.finished.as_ref();
        let sendable = finished.filter(|finished| finished.taken.is_small() || is_drained);
        sendable.map(|finished| finished.number)
    }

    /// The answer to one of the requests for the finished snapshot.
    pub fn answer(&mut self, id: Option<&Id>) -> Option<Answer> {
        let taken = &self.finished.as_ref()?.taken;
        let (message, missing) = (taken.message(id), taken.missing());
        // A gateway asks all day: missing parts are logged when they change.
        let level = match (self.missing == missing, missing.is_empty()) {
            (true, _) => Level::Debug,
            (false, true) => Level::Info,
            (false, false) => Level::Warn,
        };
        let detail = missing.to_owned();
        self.missing.clone_from(&detail);
        Some(Answer { message, summary: "snapshot".to_owned(), detail, level })
    }

    /// The notification, after all answers: the snapshot is done with.
    pub fn take_notification(&mut self) -> Option<String> {
        self.finished.take().map(|finished| finished.taken.notification())
    }

    /// When the next turn is due even if docker says nothing.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.next {
            Some(Next::Going(sample)) => Some(sample.deadline()),
            Some(Next::Waiting(_)) | None => None,
        }
    }
}
