//! A container's log as it is written. New lines leave soon after docker has printed them.
//!
//! A pass reads docker's pipes; then they are left alone for a moment, so that a busy container wakes
//! the agent no more than some twenty times a second. In that moment the lines that were read wait for
//! older lines of the other pipe. What there is no room for stays in docker's pipes.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::messages::Chunks;
use super::params::Params;
use super::source::{Heard, Source};
use crate::docker::log_lines::{Lane, Merge};
use crate::host::timestamp::Timestamp;
use crate::requests::context::Context;
use crate::requests::outcome::Outcome;
use crate::wire::rpc::{self, Error, Id};

/// A chunk is one message of at most this size, or a single line.
const CHUNK: usize = 64 * 1024;
/// With so much in memory, docker's pipes are not read.
const ROOM: usize = 44 * 1024;
/// How much a pass reads, and in what steps of each pipe.
const PASS: usize = 64 * 1024;
const STEP: usize = 4 * 1024;
/// What a line that waits costs beside its bytes.
const LINE_COST: usize = 24;
/// How long the pipes are left alone after a pass that has emptied them, and else.
const PAUSE: Duration = Duration::from_millis(50);
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// A follow has no time limit: this is as good as never.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

pub struct LogsFollow {
    source: Source,
    id: Id,
    lines: Merge,
    chunks: Chunks,
    /// The time of the next pass. If there is none, docker's output brings it about.
    next_pass: Option<Instant>,
    /// Lines up to this time may leave: none from before it is to come.
    settled: Option<Timestamp>,
    /// When `settled` was last brought up to date, and the newest line then.
    aged: (Instant, Option<Timestamp>),
    ending: Option<Ending>,
}

enum Ending {
    /// Docker has ended.
    Container(ExitStatus),
    Cancelled,
    Failed(Error),
}

/// Whether there is room for more lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Some,
    None,
    /// The gateway takes no lines: older lines make room for new lines.
    Forget,
}

impl LogsFollow {
    /// Starts `docker logs --follow`.
    ///
    /// # Errors
    /// [`rpc::Code::InvalidParams`] for a notification; [`rpc::Code::DockerUnusable`] if docker can't
    /// be started.
    pub fn start(params: Params, id: Option<&Id>, context: Context) -> Result<LogsFollow, Error> {
        let Some(id) = id.cloned() else {
            let message = "invalid params: a logs_fetch with follow needs an id".to_owned();
            return Err(Error::new(rpc::Code::InvalidParams, message));
        };
        Ok(LogsFollow {
            source: Source::start(params, context.now + NEVER, context)?,
            id,
            lines: Merge::new(usize::MAX),
            chunks: Chunks::default(),
            next_pass: None,
            settled: None,
            aged: (context.now, None),
            ending: None,
        })
    }

    /// Ends it, if it has this id. Its outcome is there at once.
    pub fn cancel(&mut self, id: &Id) -> bool {
        let is_meant = self.id.is(id);
        if is_meant {
            self.ending = Some(Ending::Cancelled);
        }
        is_meant
    }

    /// When the next pass is due even if docker prints nothing.
    pub fn deadline(&self, room: Room) -> Option<Instant> {
        match self.ending {
            None if self.may_read(room) => {
                self.next_pass.into_iter().chain(self.source.hand_on_due()).min()
            }
            // The next pass lets lines leave.
            None if !self.is_ready() => self.next_pass,
            _ => None,
        }
    }

    /// Bytes of docker's output in memory.
    pub fn held(&self) -> usize {
        self.lines.held() + self.source.held()
    }

    /// Whether lines may leave.
    pub fn is_ready(&self) -> bool {
        self.lines.oldest_time().is_some_and(|oldest| Some(oldest) <= self.settled)
    }

    /// Reads docker's pipes, if that is due and there is room. Says whether there was anything.
    pub fn pass(&mut self, now: Instant, room: Room) -> bool {
        let dues = self.next_pass.into_iter().chain(self.source.hand_on_due());
        let is_due = self.next_pass.is_none() || dues.min().is_some_and(|due| now >= due);
        if self.ending.is_some() || !is_due {
            return false;
        }
        let may_read = self.may_read(room);
        let heard = if may_read { self.read(now, room) } else { Heard::default() };
        let is_left = heard.stdout_is_left || heard.stderr_is_left;
        let anything = heard.bytes > 0 || heard.ended.is_some();
        if heard.ended.is_some() || !anything && (may_read || !self.is_ready()) {
            // Nothing older can come, or it would have to wait for room that only these lines give.
            self.settled = self.newest();
        } else {
            self.settle(now, &heard);
        }
        self.next_pass = match anything {
            true if is_left && room != Room::Forget => Some(now + SHORT_PAUSE),
            true => Some(now + PAUSE),
            false => None,
        };
        match self.source.listen(may_read && !anything) {
            Err(error) => self.ending = Some(Ending::Failed(error)),
            Ok(()) => self.ending = heard.ended.map(Ending::Container),
        }
        anything
    }

    /// The next chunk. For a follow that is ready.
    pub fn chunk(&mut self) -> Vec<u8> {
        let settled = self.settled;
        let enough = |lines: &Merge| lines.oldest_time() > settled;
        self.chunks.next(Some(&self.id), &mut self.lines, CHUNK, &enough)
    }

    /// The outcome, once there is one: after the last line, or at once if it was cancelled.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let ended = match self.ending.take()? {
            Ending::Failed(error) => return Some(Err(error)),
            Ending::Cancelled => "cancelled",
            Ending::Container(status) if !self.lines.is_empty() => {
                self.ending = Some(Ending::Container(status));
                return None;
            }
            Ending::Container(status) if !status.success() => {
                return Some(Err(self.source.failure(status)));
            }
            Ending::Container(_) => "container",
        };
        let (container, truncated) = (&self.source.container, self.lines.is_truncated());
        Some(Ok(self.chunks.count(Some(&self.id), container, truncated, Some(ended))))
    }

    /// A follow that holds no line may always read: it is the only way to its end.
    fn may_read(&self, room: Room) -> bool {
        match room {
            Room::Forget => true,
            Room::Some => self.lines.is_empty() || self.waiting() < ROOM,
            Room::None => self.lines.is_empty(),
        }
    }

    fn read(&mut self, now: Instant, room: Room) -> Heard {
        let LogsFollow { source, lines, .. } = self;
        source.hand_on(now, &mut |lane, line| lines.push(lane, line));
        let mut bytes = 0;
        loop {
            while room == Room::Forget && self.waiting() >= ROOM && self.lines.len() > 1 {
                self.lines.discard_oldest();
                self.chunks.dropped += 1;
            }
            let LogsFollow { source, lines, .. } = self;
            let heard = source.read(now, STEP, &mut |lane, line| lines.push(lane, line));
            bytes += heard.bytes;
            let is_left = heard.stdout_is_left || heard.stderr_is_left;
            if !is_left || heard.ended.is_some() || bytes >= PASS || !self.may_read(room) {
                return Heard { bytes, ..heard };
            }
        }
    }

    /// The latest time that a line has had so far.
    fn newest(&self) -> Option<Timestamp> {
        self.lines.latest(Lane::Stdout).max(self.lines.latest(Lane::Stderr))
    }

    /// Decides which lines may leave, after a pass that may not have read all.
    fn settle(&mut self, now: Instant, heard: &Heard) {
        let [stdout, stderr] = [Lane::Stdout, Lane::Stderr].map(|lane| self.lines.latest(lane));
        // What is left in a pipe comes after what was read of it, and all that is as old as that is
        // here: docker writes one pipe after the other, in the order of time.
        let bound = match (heard.stdout_is_left, heard.stderr_is_left) {
            (true, true) => stdout.min(stderr),
            (true, false) => stdout,
            (false, true) => stderr,
            (false, false) => None,
        };
        self.settled = self.settled.max(bound);
        if now >= self.aged.0 + PAUSE {
            self.settled = self.settled.max(self.aged.1);
            self.aged = (now, self.newest());
        }
    }

    /// Bytes of lines that wait, and what is kept of each beside it.
    fn waiting(&self) -> usize {
        self.lines.encoded_len() + self.lines.len() * LINE_COST + self.source.held()
    }
}
