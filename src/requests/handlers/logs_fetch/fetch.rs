//! The last lines of a container's log, in one reply or in chunks.
//!
//! Both ways keep lines in a [`Merge`] of bounded size. When it is full, a reply drops its oldest
//! lines and a stream sends them. A message is made only after the session has sent all others, so
//! that only one large message is in memory at a time.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::messages::{self, Chunks};
use super::params::Params;
use super::source::{Source, WHOLE_TURN};
use crate::docker::log_lines::Merge;
use crate::requests::context::Context;
use crate::requests::outcome::Outcome;
use crate::wire::rpc::{self, Error, Id};
use crate::wire::session::Session;

const DEADLINE: Duration = Duration::from_secs(30);
/// A chunk of a stream is one message of at most this size, or a single line.
const CHUNK: usize = 256 * 1024;
/// How many bytes of a stream's lines are held back, to put them in order.
const WINDOW: usize = 256 * 1024;
/// After so long without output a docker that has printed something is silent: others are read
/// first.
const SILENCE: Duration = Duration::from_secs(1);

pub struct LogsFetch {
    source: Source,
    /// The request's id in JSON. `null` for a notification, whose response is made but not sent.
    id: Option<Id>,
    lines: Merge,
    ended: Option<ExitStatus>,
    stream: Option<Chunks>,
    /// When docker last printed something, or its pipes were last left unread.
    heard: Instant,
}

/// Which request reads on first, highest first: docker is not silent, then bytes held.
pub type Rank = (bool, usize);

impl LogsFetch {
    /// Starts `docker logs`.
    ///
    /// # Errors
    /// [`rpc::Code::DockerUnusable`] if docker can't be started.
    pub fn start(params: Params, id: Option<&Id>, context: Context) -> Result<LogsFetch, Error> {
        // Nothing is sent for a notification, so it needs no stream.
        let stream = params.stream && id.is_some();
        let limit = if stream { WINDOW } else { messages::reply_room(id) };
        Ok(LogsFetch {
            source: Source::start(params, context.now + DEADLINE, context)?,
            id: id.cloned(),
            lines: Merge::new(limit),
            ended: None,
            stream: stream.then(Chunks::default),
            heard: context.now,
        })
    }

    /// When the next turn is due even if docker says nothing.
    pub fn deadline(&self, now: Instant) -> Instant {
        let falls_silent = self.heard + SILENCE;
        if self.ended.is_some() {
            // All that is left waits for the gateway to read; the heartbeat ends a dead session.
            return now + DEADLINE;
        }
        let waiting = self.held() > 0 && self.ended.is_none() && now < falls_silent;
        let deadline = self.source.deadline();
        if waiting { falls_silent.min(deadline) } else { deadline }
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.held() > 0 && self.ended.is_none() && now >= self.heard + SILENCE
    }

    /// The request that holds most is nearest to its end, which frees what it holds, unless its
    /// docker has fallen silent.
    pub fn rank(&self, now: Instant) -> Rank {
        (!self.is_silent(now), self.held())
    }

    /// Bytes of docker's output in memory.
    pub fn held(&self) -> usize {
        self.lines.held() + self.source.held()
    }

    /// Moves on as far as it goes without waiting. Returns the outcome once there is one. Reads
    /// docker's pipes only if `may_read`.
    pub fn turn(&mut self, now: Instant, may_read: bool, session: &mut Session) -> Option<Outcome> {
        if self.ended.is_none() && now >= self.source.deadline() {
            let (Source { program, container, .. }, seconds) = (&self.source, DEADLINE.as_secs());
            let message = format!(
                "{program} logs {container}: not done within {seconds} s; ask for fewer lines, or \
                 run sudo {program} ps on the machine to see whether docker answers"
            );
            return Some(Err(Error::new(rpc::Code::TookTooLong, message)));
        }
        let has_room = self.stream.is_none() || session.is_drained();
        let reading = self.ended.is_none() && may_read && has_room;
        if let Err(error) = self.source.listen(reading) {
            return Some(Err(error));
        }
        if reading {
            self.read(now);
        } else if !self.is_silent(now) {
            self.heard = now;
        }
        if !session.is_drained() {
            return None;
        }
        match self.ended {
            Some(status) if !status.success() => Some(Err(self.source.failure(status))),
            Some(_) if self.stream.is_none() => {
                let LogsFetch { source, id, lines, .. } = self;
                Some(Ok(messages::reply(id.as_ref(), &source.container, lines)))
            }
            ended => self.send_chunk(ended.is_some(), session),
        }
    }

    fn read(&mut self, now: Instant) {
        let LogsFetch { source, lines, stream, .. } = self;
        let whole = stream.is_none();
        let heard = source.read(now, WHOLE_TURN, &mut |lane, line| {
            lines.push(lane, line);
            while whole && lines.is_over_limit() {
                lines.forget_oldest();
            }
        });
        if heard.bytes > 0 {
            self.heard = now;
        }
        self.ended = heard.ended;
    }

    /// Sends a chunk of the oldest lines if there are enough, or if docker has ended. Returns the
    /// outcome after the last chunk.
    fn send_chunk(&mut self, ended: bool, session: &mut Session) -> Option<Outcome> {
        let LogsFetch { source, id, lines, .. } = self;
        let (stream, id) = (self.stream.as_mut()?, id.as_ref());
        if lines.is_empty() && ended {
            return Some(Ok(stream.count(id, &source.container, lines.is_truncated(), None)));
        }
        if ended || lines.is_over_limit() {
            let enough = |lines: &Merge| !ended && lines.encoded_len() < WINDOW / 2;
            session.send(stream.next(id, lines, CHUNK, &enough));
        }
        None
    }
}
