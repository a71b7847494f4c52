//! Looks for a text in a container's log, from its end backwards.
//!
//! An agent gives the last lines of a log and no others, so each step asks for more of them, as a
//! stream, and looks at all again: a few thousand lines are looked at in milliseconds. What an earlier
//! step has told is told once. Lines that are written meanwhile belong to the follower, not to the
//! search.

mod scan;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};

use super::calls::CallError;
use super::register::InstanceId;
use super::session::{Order, Reply};
use super::tail::{Ending, Line};
use crate::gateway::Gateway;
pub use scan::{Needle, Scanner, scan};
use scan::{Scan, Seen};

/// How many of the last lines each step looks at. The protocol's limit is the last.
const STEPS: [u64; 3] = [250, 1000, REACH];
const REACH: u64 = 5000;
/// For all steps together; the agent's own limit is 30 s for each.
const TIME: Duration = Duration::from_secs(60);
/// Between two tellings of how far it is.
const PACE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub struct SearchQuery {
    pub container: String,
    pub needle: Needle,
}

/// What a search tells, in this order: progress and matches by turns, then its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The newest first; all are older than those of earlier matches.
    Matches(Vec<Line>),
    Progress(Progress),
    End(End),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Lines looked at, from the end of the log backwards.
    pub searched: u64,
    /// The time of the oldest of them.
    pub back_to: Option<String>,
    pub matches: u64,
}

#[derive(Debug, Serialize)]
pub struct End {
    pub why: Why,
    /// Of an error, what was said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether a very long line was not searched to its end.
    pub truncated: bool,
    #[serde(flatten)]
    pub progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The whole log was searched.
    Start,
    /// The log goes further back than an agent tells.
    Reach,
    /// There are more matches than a search tells.
    Full,
    /// It took too long.
    Time,
    /// The agent's session ended.
    Session,
    Error,
}

/// Dropped, it is over. The agent may still send what it was asked for: nothing of that is kept.
pub struct Search {
    gateway: Arc<Gateway>,
    id: InstanceId,
    query: SearchQuery,
    steps: std::slice::Iter<'static, u64>,
    running: Option<(u64, Scan)>,
    told: Told,
    pending: VecDeque<Found>,
    progress: Progress,
    truncated: bool,
    deadline: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Gateway {
    /// Fails at once if there is nobody to ask.
    pub fn search(
        self: &Arc<Gateway>,
        id: &InstanceId,
        query: SearchQuery,
    ) -> Result<Search, CallError> {
        let place = self.searchers.clone().try_acquire_owned();
        let place = place.map_err(|_| CallError::TooManySearches)?;
        let mut search = Search {
            gateway: self.clone(),
            id: id.clone(),
            query,
            steps: STEPS.iter(),
            running: None,
            told: Told::default(),
            pending: VecDeque::new(),
            progress: Progress::default(),
            truncated: false,
            deadline: Instant::now() + TIME,
            ended: false,
            _place: place,
        };
        search.step()?;
        Ok(search)
    }
}

impl Search {
    /// Nothing after the end. Safe to cancel.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.pending.pop_front() {
                return Some(found);
            }
            if self.ended {
                return None;
            }
            let Some((_, scan)) = &self.running else {
                if let Err(error) = self.step() {
                    self.end(why(&error), Some(error.to_string()));
                }
                continue;
            };
            if timeout_at(self.deadline, scan.changed()).await.is_err() {
                self.end(Why::Time, None);
                continue;
            }
            match scan.read(|seen| seen.ending.is_some()) {
                true => self.finish_step(),
                false => self.look().await,
            }
        }
    }

    /// Asks for the next step's lines.
    fn step(&mut self) -> Result<(), CallError> {
        let Some(lines) = self.steps.next() else {
            self.end(Why::Reach, None);
            return Ok(());
        };
        let orders = self.gateway.agents.orders(&self.id)?;
        let (scanner, scan) = scan(self.query.needle.clone());
        let order = Order::Request {
            ticket: self.gateway.agents.ticket(),
            method: "logs_fetch".to_owned(),
            params: json!({"container": self.query.container, "lines": lines, "stream": true}),
            reply: Reply::Scan(scanner),
        };
        orders.try_send(order).map_err(|_| CallError::Busy)?;
        self.running = Some((*lines, scan));
        Ok(())
    }

    /// How far the step is, as soon as it is further than those before.
    async fn look(&mut self) {
        let Some((_, scan)) = &self.running else { return };
        let now = scan.read(|seen| Progress {
            searched: seen.lines,
            back_to: seen.oldest.clone(),
            matches: seen.matches.len() as u64,
        });
        if now.searched > self.progress.searched {
            self.progress = Progress { matches: now.matches.max(self.progress.matches), ..now };
            self.pending.push_back(Found::Progress(self.progress.clone()));
            sleep(PACE).await;
        }
    }

    fn finish_step(&mut self) {
        let Some((asked, scan)) = self.running.take() else { return };
        let seen = scan.take();
        match &seen.ending {
            Some(Ending::Refused(error)) => {
                return self.end(Why::Error, Some(error.message.clone()));
            }
            Some(Ending::SessionEnded) => return self.end(Why::Session, None),
            _ => {}
        }
        let (lines, full) = (seen.lines, seen.full);
        self.tell(seen);
        if full {
            self.end(Why::Full, None);
        } else if lines < asked {
            self.end(Why::Start, None);
        }
    }

    fn tell(&mut self, seen: Seen) {
        self.truncated |= seen.truncated;
        let matches = self.told.new_ones(seen.matches, seen.newest.as_deref());
        self.progress.searched = seen.lines;
        self.progress.back_to = seen.oldest;
        self.progress.matches = self.told.total;
        if !matches.is_empty() {
            self.pending.push_back(Found::Matches(matches));
        }
        self.pending.push_back(Found::Progress(self.progress.clone()));
    }

    fn end(&mut self, why: Why, detail: Option<String>) {
        (self.ended, self.running) = (true, None);
        let (truncated, progress) = (self.truncated, self.progress.clone());
        self.pending.push_back(Found::End(End { why, detail, truncated, progress }));
    }
}

fn why(error: &CallError) -> Why {
    match error {
        CallError::NotConnected | CallError::Unknown => Why::Session,
        _ => Why::Error,
    }
}

/// The matches that were told, so that each is told once though its line is looked at again.
#[derive(Default)]
struct Told {
    /// By the hash of the line.
    counts: HashMap<u64, u32>,
    total: u64,
    /// When the search began: the time of the last line of its first step.
    until: Option<OffsetDateTime>,
}

impl Told {
    /// The newest first. `newest` is the time of the last line that was looked at.
    fn new_ones(&mut self, matches: VecDeque<Line>, newest: Option<&str>) -> Vec<Line> {
        self.until = self.until.or_else(|| newest.and_then(time));
        let until = self.until;
        let mut again: HashMap<u64, u32> = HashMap::new();
        let is_new = |line: &Line| {
            let later = time(&line.ts).zip(until).is_some_and(|(at, until)| at > until);
            let count = again.entry(hash(line)).or_default();
            *count += 1;
            !later && *count > self.counts.get(&hash(line)).copied().unwrap_or(0)
        };
        let new: Vec<Line> = matches.into_iter().rev().filter(is_new).collect();
        self.total += new.len() as u64;
        for line in &new {
            *self.counts.entry(hash(line)).or_default() += 1;
        }
        new
    }
}

fn hash(line: &Line) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&line.ts, &line.text, &line.from).hash(&mut hasher);
    hasher.finish()
}

/// `None`: the agent writes something else, and the line counts as old.
fn time(ts: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(ts, &Rfc3339).ok()
}

#[cfg(test)]
mod tests;
