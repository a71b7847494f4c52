//! One window of a search: the lines that an agent streams, looked at in its session as they come.
//! Only what matches is kept, so no line waits anywhere and none is left out.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::agents::session::Outcome;
use crate::agents::tail::{Ending, Line};

/// Of matches that one search keeps. The newest are kept.
const MATCHES: usize = 500;
const MATCH_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Needle {
    text: String,
    ignore_case: bool,
}

impl Needle {
    pub fn new(text: &str, ignore_case: bool) -> Needle {
        let text = if ignore_case { text.to_lowercase() } else { text.to_owned() };
        Needle { text, ignore_case }
    }

    pub fn is_in(&self, line: &str) -> bool {
        match self.ignore_case {
            true => line.to_lowercase().contains(&self.text),
            false => line.contains(&self.text),
        }
    }
}

/// The session's side. Dropped without an answer, it says that the session has ended.
pub struct Scanner(Arc<Shared>);

/// The searcher's side.
pub struct Scan(Arc<Shared>);

struct Shared {
    needle: Needle,
    state: Mutex<Seen>,
    changed: Notify,
}

/// What has come so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub lines: u64,
    /// The times of the first and of the last line, as the agent writes them.
    pub oldest: Option<String>,
    pub newest: Option<String>,
    /// The oldest first.
    pub matches: VecDeque<Line>,
    bytes: usize,
    /// Whether older matches were left out for want of room.
    pub full: bool,
    /// Whether the end of a very long line was cut off, and not searched.
    pub truncated: bool,
    pub ending: Option<Ending>,
    unwanted: bool,
}

pub fn scan(needle: Needle) -> (Scanner, Scan) {
    let (state, changed) = Default::default();
    let shared = Arc::new(Shared { needle, state, changed });
    (Scanner(shared.clone()), Scan(shared))
}

impl Scanner {
    pub fn push(&self, lines: Vec<Line>) {
        let mut seen = self.0.state.lock();
        if seen.unwanted {
            return;
        }
        seen.lines += lines.len() as u64;
        if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
            seen.oldest.get_or_insert_with(|| first.ts.clone());
            seen.newest = Some(last.ts.clone());
        }
        for line in lines {
            if self.0.needle.is_in(&line.text) {
                seen.keep(line);
            }
        }
        drop(seen);
        self.0.changed.notify_one();
    }

    pub fn answer(&self, outcome: Outcome) {
        let ending = match outcome {
            Ok(result) => {
                self.0.state.lock().truncated = result["truncated"] == true;
                Ending::Ended("stream".to_owned())
            }
            Err(error) => Ending::Refused(error),
        };
        self.end(ending);
    }

    pub fn is_wanted(&self) -> bool {
        !self.0.state.lock().unwanted
    }

    /// The first ending counts.
    fn end(&self, ending: Ending) {
        self.0.state.lock().ending.get_or_insert(ending);
        self.0.changed.notify_one();
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        self.end(Ending::SessionEnded);
    }
}

impl Seen {
    fn keep(&mut self, line: Line) {
        self.bytes += line.cost();
        self.matches.push_back(line);
        while (self.matches.len() > MATCHES || self.bytes > MATCH_BYTES)
            && let Some(oldest) = self.matches.pop_front()
        {
            self.bytes -= oldest.cost();
            self.full = true;
        }
    }
}

impl Scan {
    /// Returns when something has come since the last call. Safe to cancel.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub fn read<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.state.lock())
    }

    /// All of it, at the end.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.0.state.lock())
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        let mut seen = self.0.state.lock();
        *seen = Seen { unwanted: true, ..Seen::default() };
    }
}
