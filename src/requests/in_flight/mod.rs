//! The requests in flight: at most 32, answered in any order, each when it is done. They end with
//! the session that they came by.

use std::time::Instant;

use crate::requests::asked::Asked;
use crate::requests::followers::Followers;
use crate::requests::handlers::logs_fetch::{LogsFetch, Rank};
use crate::requests::handlers::snapshots::Snapshots;
use crate::wire::rpc::{self, Error, Request};
use crate::wire::session::Session;

const LIMIT: usize = 32;
/// Bytes of docker's output in memory, all requests together. Above it only one request reads on:
/// the output of the others waits in their pipes.
const BUDGET: usize = 256 * 1024;

#[derive(Default)]
pub struct InFlight {
    requests: Vec<Running>,
    /// How many requests there have been.
    count: u64,
    pub snapshots: Snapshots,
    /// They don't count as requests in flight.
    pub followers: Followers,
}

/// The work for a request.
pub enum Work {
    Logs(Box<LogsFetch>),
    /// It waits for the snapshot of this number.
    Snapshot(u64),
}

struct Running {
    number: u64,
    asked: Asked,
    work: Work,
}

impl InFlight {
    /// Whether one more request may start. `upgrading`: an upgrade is in flight too.
    ///
    /// # Errors
    /// [`rpc::Code::Busy`].
    pub fn check_room(&self, upgrading: bool) -> Result<(), Error> {
        if self.requests.len() + usize::from(upgrading) < LIMIT {
            return Ok(());
        }
        let message = format!("busy: {LIMIT} requests are in flight; ask again later");
        Err(Error::new(rpc::Code::Busy, message))
    }

    /// From now on `request` is in flight.
    pub fn add(&mut self, request: Request, work: Work, now: Instant) {
        self.count += 1;
        self.requests.push(Running { number: self.count, asked: Asked::new(request, now), work });
    }

    /// Moves every request on as far as it goes without waiting, and answers those that are done.
    /// True if there is more to do at once: others may move on for a request that was answered.
    pub fn turn(&mut self, now: Instant, session: &mut Session) -> bool {
        let before = self.requests.len();
        // First, since they send less than they could: the others would leave them no room.
        let followed = self.followers.turn(now, session);
        self.turn_logs(now, session);
        self.turn_snapshots(now, session);
        followed || self.requests.len() < before
    }

    /// When the next turn is due even if no child says anything.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let logs = self.requests.iter().filter_map(|running| Some(running.logs()?.deadline(now)));
        logs.chain(self.snapshots.deadline()).chain(self.followers.deadline(now)).min()
    }

    fn turn_logs(&mut self, now: Instant, session: &mut Session) {
        let mut held: usize =
            self.requests.iter().filter_map(Running::logs).map(LogsFetch::held).sum();
        let first = self.requests.iter().max_by_key(|running| running.rank(now));
        let first = first.map(|running| running.number);
        let mut index = 0;
        while let Some(running) = self.requests.get_mut(index) {
            let Work::Logs(logs) = &mut running.work else {
                index += 1;
                continue;
            };
            let may_read = held < BUDGET || Some(running.number) == first;
            held -= logs.held();
            match logs.turn(now, may_read, session) {
                None => {
                    held += logs.held();
                    index += 1;
                }
                Some(outcome) => self.requests.remove(index).asked.answer(now, session, outcome),
            }
        }
    }

    /// Answers the requests that wait for the finished snapshot, then sends the notification. Large
    /// messages go one by one, as the session takes them.
    fn turn_snapshots(&mut self, now: Instant, session: &mut Session) {
        self.snapshots.turn(now);
        while let Some(number) = self.snapshots.finished(session.is_drained()) {
            let waits =
                |running: &Running| matches!(running.work, Work::Snapshot(n) if n == number);
            match self.requests.iter().position(waits) {
                Some(index) => {
                    let asked = self.requests.remove(index).asked;
                    if let Some(answer) = self.snapshots.answer(asked.id.as_ref()) {
                        asked.answer(now, session, Ok(answer));
                    }
                }
                None => self.snapshots.take_notification().into_iter().for_each(|message| {
                    session.send(message);
                }),
            }
        }
    }
}

impl Running {
    fn logs(&self) -> Option<&LogsFetch> {
        match &self.work {
            Work::Logs(logs) => Some(logs),
            Work::Snapshot(_) => None,
        }
    }

    /// The request of the highest rank reads on when memory is short.
    fn rank(&self, now: Instant) -> Option<Rank> {
        self.logs().map(|logs| logs.rank(now))
    }
}

#[cfg(test)]
mod tests;
