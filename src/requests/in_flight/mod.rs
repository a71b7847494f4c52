//! The requests in flight: at most 32, answered in any order, each when it is done. They end with
//! the session that they came by.

use std::time::Instant;

use crate::logging::PEER;
use crate::requests::handlers::logs_fetch::{LogsFetch, Rank};
use crate::requests::handlers::snapshots::Snapshots;
use crate::requests::outcome::{Answer, Outcome};
use crate::wire::rpc::{self, Error, Id, Request};
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

/// The part of a request that its answer needs.
struct Asked {
    /// A notification has no id and is not answered.
    id: Option<Id>,
    method: String,
    since: Instant,
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
    /// True if a request was answered: others may move on for it.
    pub fn turn(&mut self, now: Instant, session: &mut Session) -> bool {
        let before = self.requests.len();
        self.turn_logs(now, session);
        self.turn_snapshots(now, session);
        self.requests.len() < before
    }

    /// When the next turn is due even if no child says anything.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let logs = self.requests.iter().filter_map(|running| Some(running.logs()?.deadline(now)));
        logs.chain(self.snapshots.deadline()).min()
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

/// Answers a request that was not started.
pub fn refuse(request: Request, now: Instant, session: &mut Session, error: Error) {
    Asked::new(request, now).answer(now, session, Err(error));
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

impl Asked {
    fn new(request: Request, now: Instant) -> Asked {
        Asked { id: request.id, method: request.method, since: now }
    }

    /// Sends the answer, unless this is a notification, and logs the request: method, duration,
    /// outcome.
    fn answer(self, now: Instant, session: &mut Session, outcome: Outcome) {
        let took = now.saturating_duration_since(self.since).as_millis();
        // The name of a method that does not exist may hold anything.
        let method: String = self.method.escape_debug().take(64).collect();
        let message = match outcome {
            Ok(Answer { message, summary, detail, level }) => {
                log::log!(target: PEER, level, "{method}: {summary} in {took} ms{detail}");
                message
            }
            Err(error) => {
                log::info!(target: PEER, "{method}: failed in {took} ms: {error}");
                rpc::error(self.id.as_ref(), &error).into()
            }
        };
        if self.id.is_some() {
            session.send(message);
        }
    }
}

#[cfg(test)]
mod tests;
