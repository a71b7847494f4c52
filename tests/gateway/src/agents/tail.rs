//! The lines of a container on their way from an agent's session to the one who follows them. The
//! session never waits for a reader: what the reader does not take in time is left out, the oldest
//! first, and counted.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::rpc;

/// Of lines that wait for one reader.
const WAITING_BYTES: usize = 1 << 20;
/// What a line costs beside its text.
const LINE_COST: usize = 64;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Line {
    /// RFC 3339.
    pub ts: String,
    pub text: String,
    /// `stderr`, where it came by standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Line {
    /// In bytes of memory.
    pub fn cost(&self) -> usize {
        LINE_COST + self.ts.len() + self.text.len() + self.from.as_ref().map_or(0, String::len)
    }
}

/// What has come since the reader looked last.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Lines {
    pub lines: Vec<Line>,
    /// How many older ones were left out before these.
    pub dropped: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// `container` or `cancelled`, as the agent says.
    Ended(String),
    Refused(rpc::Error),
    SessionEnded,
}

pub struct Writer(Arc<Shared>);
pub struct Reader(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Line>,
    bytes: usize,
    dropped: u64,
    ending: Option<Ending>,
    reader_gone: bool,
}

pub fn tail() -> (Writer, Reader) {
    let shared = Arc::new(Shared::default());
    (Writer(shared.clone()), Reader(shared))
}

impl Writer {
    /// `dropped` is what the agent itself has left out before these lines.
    pub fn push(&self, lines: Vec<Line>, dropped: u64) {
        let mut state = self.0.state.lock();
        state.dropped = state.dropped.saturating_add(dropped);
        for line in lines {
            state.bytes += line.cost();
            state.waiting.push_back(line);
        }
        while state.bytes > WAITING_BYTES
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.bytes -= oldest.cost();
            state.dropped += 1;
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// The first ending counts.
    pub fn end(&self, ending: Ending) {
        self.0.state.lock().ending.get_or_insert(ending);
        self.0.changed.notify_one();
    }

    pub fn reader_is_gone(&self) -> bool {
        self.0.state.lock().reader_gone
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Ending::SessionEnded);
    }
}

impl Reader {
    /// Waits for more; the ending comes after the last lines. Safe to cancel.
    pub async fn next(&mut self) -> Result<Lines, Ending> {
        loop {
            if let Some(outcome) = self.take() {
                return outcome;
            }
            self.0.changed.notified().await;
        }
    }

    fn take(&self) -> Option<Result<Lines, Ending>> {
        let mut state = self.0.state.lock();
        if state.waiting.is_empty() && state.dropped == 0 {
            return state.ending.clone().map(Err);
        }
        state.bytes = 0;
        let lines = std::mem::take(&mut state.waiting).into();
        Some(Ok(Lines { lines, dropped: std::mem::take(&mut state.dropped) }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.reader_gone = true;
        state.waiting.clear();
        state.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, length: usize) -> Vec<Line> {
        let line = |n: usize| Line { ts: n.to_string(), text: "x".repeat(length), from: None };
        (0..count).map(line).collect()
    }

    #[tokio::test]
    async fn what_is_not_taken_is_bounded_and_counted() {
        let (writer, mut reader) = tail();
        for _ in 0..100 {
            writer.push(lines(1000, 100), 0);
        }
        writer.push(Vec::new(), 7);
        let taken = reader.next().await.unwrap();
        assert!(taken.lines.iter().map(Line::cost).sum::<usize>() <= WAITING_BYTES);
        assert!(taken.lines.len() > 1000);
        assert_eq!(taken.dropped + taken.lines.len() as u64, 100 * 1000 + 7);
        assert_eq!(taken.lines.last().unwrap().ts, "999", "the newest are kept");
    }

    #[tokio::test]
    async fn the_ending_comes_after_the_last_lines() {
        let (writer, mut reader) = tail();
        writer.push(lines(1, 1), 0);
        writer.end(Ending::Ended("container".to_owned()));
        drop(writer);
        assert_eq!(reader.next().await.unwrap().lines.len(), 1);
        assert_eq!(reader.next().await, Err(Ending::Ended("container".to_owned())));
    }
}
