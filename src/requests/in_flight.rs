//! The requests that are being carried out: at most 32, each answered when it is done, in any
//! order. They end with the session that they came by.

use std::rc::Rc;
use std::time::Instant;

use log::Level;
use tungstenite::Bytes;

use crate::config::Config;
use crate::logging::PEER;
use crate::requests::dispatch::{Started, Work, dispatch};
use crate::requests::handlers::agent_upgrade::Upgrade;
use crate::requests::handlers::logs_fetch::Rank;
use crate::requests::handlers::metrics_collect::{Sample, Taken};
use crate::run::job::Children;
use crate::wire::rpc::{self, Error, Id, Request};
use crate::wire::session::Session;

const LIMIT: usize = 32;
/// Beyond this many bytes of docker's output in memory, all requests together, only one is read
/// on: the others' output waits in their pipes.
const BUDGET: usize = 256 * 1024;

#[derive(Default)]
pub struct Flights {
    flying: Vec<Flight>,
    /// How many there have been.
    count: u64,
    /// The snapshot that those with [`Work::Snapshot`] wait for.
    sample: Option<Sample>,
    /// A snapshot that the gateway has yet to be told, after those who asked for it.
    untold: Option<Rc<Taken>>,
    /// What was last logged of a snapshot above the debug level: what was missing, and why.
    missing: String,
}

struct Flight {
    number: u64,
    /// A notification has none and is not answered.
    id: Option<Id>,
    method: String,
    started: Instant,
    work: Work,
}

/// What became of a request.
pub type Outcome = Result<Answer, Error>;

pub struct Answer {
    pub message: Bytes,
    /// A few words for the log, and their level.
    pub summary: String,
    pub level: Level,
}

impl Flights {
    /// Starts a request, or answers why not. An upgrade is the caller's to look after; `upgrading`
    /// says that there is one already.
    pub fn start(
        &mut self,
        request: Request,
        now: Instant,
        config: &Config,
        children: &Rc<Children>,
        upgrading: bool,
        session: &mut Session,
    ) -> Option<Box<Upgrade>> {
        let started = if self.flying.len() + usize::from(upgrading) < LIMIT {
            dispatch(&request, now, config, children, upgrading)
        } else {
            let message = format!("busy: {LIMIT} requests are in flight; ask again later");
            Err(Error::new(rpc::BUSY, message))
        };
        let Request { id, method, .. } = request;
        match started {
            Ok(Started::Upgrade(upgrade)) => return Some(upgrade),
            Ok(Started::Flight(work)) => {
                if matches!(work, Work::Snapshot) && self.sample.is_none() {
                    self.sample = Some(Sample::start(now, config, children));
                }
                self.count += 1;
                self.flying.push(Flight { number: self.count, id, method, started: now, work });
            }
            Err(error) => answer(session, id.as_ref(), &method, now, now, Err(error)),
        }
        None
    }

    /// Moves everything on as far as it goes without waiting, and answers what is done. True if
    /// something was, and others may move on for it.
    pub fn turn(&mut self, now: Instant, session: &mut Session) -> bool {
        let before = self.flying.len();
        self.turn_logs(now, session);
        self.turn_sample(now, session);
        self.flying.len() < before
    }

    /// Answers those who wait for a snapshot, then tells it to the gateway unasked. Large ones go
    /// one by one, as the session takes them.
    fn turn_sample(&mut self, now: Instant, session: &mut Session) {
        if self.untold.is_none()
            && let Some(snapshot) = self.sample.as_mut().and_then(|sample| sample.turn(now))
        {
            self.sample = None;
            let taken = Rc::new(Taken::from(snapshot));
            for flight in &mut self.flying {
                if matches!(flight.work, Work::Snapshot) {
                    flight.work = Work::Taken(Rc::clone(&taken));
                }
            }
            self.untold = Some(taken);
        }
        while let Some(untold) = &self.untold
            && (untold.is_small() || session.is_drained())
        {
            let is_taken = |flight: &Flight| matches!(flight.work, Work::Taken(_));
            match self.flying.iter().position(is_taken) {
                Some(index) => {
                    let flight = self.flying.remove(index);
                    let Work::Taken(taken) = &flight.work else { continue };
                    let (message, missing) = (taken.message(flight.id.as_ref()), taken.missing());
                    // A gateway asks all day; what changes is news.
                    let level = match (self.missing == missing, missing.is_empty()) {
                        (true, _) => Level::Debug,
                        (false, true) => Level::Info,
                        (false, false) => Level::Warn,
                    };
                    missing.clone_into(&mut self.missing);
                    let summary = format!("snapshot{missing}");
                    flight.finish(now, session, Ok(Answer { message, summary, level }));
                }
                None => {
                    session.send(untold.notification());
                    self.untold = None;
                }
            }
        }
    }

    /// When the next turn is due even if no child says anything.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let logs = self.flying.iter().filter_map(|flight| match &flight.work {
            Work::Logs(logs) => Some(logs.deadline(now)),
            Work::Snapshot | Work::Taken(_) => None,
        });
        // One that is done waits for the one before to be told.
        let sample = self.sample.as_ref().filter(|_| self.untold.is_none());
        logs.chain(sample.map(Sample::deadline)).min()
    }

    fn turn_logs(&mut self, now: Instant, session: &mut Session) {
        let mut held: usize = self.flying.iter().map(Flight::held).sum();
        let first = self.flying.iter().max_by_key(|flight| flight.rank(now));
        let first = first.map(|flight| flight.number);
        let mut index = 0;
        while let Some(flight) = self.flying.get_mut(index) {
            let Work::Logs(logs) = &mut flight.work else {
                index += 1;
                continue;
            };
            let may_read = held < BUDGET || Some(flight.number) == first;
            held -= logs.held();
            let outcome = logs.turn(now, may_read, session);
            held += logs.held();
            match outcome {
                None => index += 1,
                Some(outcome) => {
                    held -= logs.held();
                    let flight = self.flying.remove(index);
                    flight.finish(now, session, outcome);
                }
            }
        }
    }
}

impl Flight {
    /// Bytes of docker's output in memory.
    fn held(&self) -> usize {
        match &self.work {
            Work::Logs(logs) => logs.held(),
            Work::Snapshot | Work::Taken(_) => 0,
        }
    }

    /// The highest is read on when memory is short.
    fn rank(&self, now: Instant) -> Option<Rank> {
        match &self.work {
            Work::Logs(logs) => Some(logs.rank(now)),
            Work::Snapshot | Work::Taken(_) => None,
        }
    }

    fn finish(self, now: Instant, session: &mut Session, outcome: Outcome) {
        answer(session, self.id.as_ref(), &self.method, self.started, now, outcome);
    }
}

/// Sends the answer, if one is wanted, and logs the request: method, duration, outcome.
fn answer(
    session: &mut Session,
    id: Option<&Id>,
    method: &str,
    started: Instant,
    now: Instant,
    outcome: Outcome,
) {
    let took = now.saturating_duration_since(started).as_millis();
    // A method that is not ours may be anything.
    let method: String = method.escape_debug().take(64).collect();
    let message = match outcome {
        Ok(Answer { message, summary, level }) => {
            log::log!(target: PEER, level, "{method}: {summary} in {took} ms");
            message
        }
        Err(error) => {
            log::info!(target: PEER, "{method}: failed in {took} ms: {error}");
            rpc::error(id, &error).into()
        }
    };
    if id.is_some() {
        session.send(message);
    }
}
