//! `logs_fetch`: the last lines of a container's log, in one reply or in chunks.
//!
//! Both ways keep lines in a [`Merge`] of bounded size. When it is full, a reply drops its oldest
//! lines and a stream sends them. A message is made only after the session has sent all others, so
//! that only one large message is in memory at a time.

mod params;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use log::Level;
use serde_json::value::RawValue;
use tungstenite::Bytes;

use crate::docker::log_lines::{Lane, LaneParser, Line, Merge};
use crate::docker::{self, Failure};
use crate::requests::context::Context;
use crate::requests::outcome::{Answer, Outcome};
use crate::run::job::{Job, Pipe, Progress};
use crate::wire::rpc::{self, Error, Id, MESSAGE_LIMIT};
use crate::wire::session::Session;
use params::Params;

const DEADLINE: Duration = Duration::from_secs(30);
/// A chunk of a stream is one message of at most this size, or a single line.
const CHUNK: usize = 256 * 1024;
/// How many bytes of a stream's lines are held back, to put them in order.
const WINDOW: usize = 256 * 1024;
/// After so long without output a docker that has printed something is silent: others are read
/// first.
const SILENCE: Duration = Duration::from_secs(1);

const CHUNK_TAIL: &str = "]}}\n";
const REPLY_TAIL: &str = "]}}\n";
const TRUNCATED_TAIL: &str = "],\"truncated\":true}}\n";

pub struct LogsFetch {
    job: Job,
    program: String,
    container: String,
    /// The request's id in JSON. `null` for a notification, whose response is made but not sent.
    id: Option<Id>,
    stdout: LaneParser,
    stderr: LaneParser,
    lines: Merge,
    ended: Option<ExitStatus>,
    stream: Option<Stream>,
    /// When docker last printed something, or its pipes were last left unread.
    heard: Instant,
}

/// Which request reads on first, highest first: docker is not silent, then bytes held.
pub type Rank = (bool, usize);

/// How far a stream has got.
#[derive(Default)]
struct Stream {
    seq: u64,
    sent: usize,
}

impl LogsFetch {
    /// Starts `docker logs`.
    ///
    /// # Errors
    /// [`rpc::Code::InvalidParams`], before a process is started; [`rpc::Code::DockerUnusable`] if docker can't
    /// be started.
    pub fn start(
        params: Option<&RawValue>,
        id: Option<&Id>,
        context: Context,
    ) -> Result<LogsFetch, Error> {
        let Context { now, config, children } = context;
        let Params { container, range, stream } = Params::parse(params)?;
        let program = config.docker.to_string_lossy().into_owned();
        let arguments = docker::logs_arguments(&container, range);
        let job = children
            .start(&config.docker, arguments, now + DEADLINE)
            .map_err(|error| Failure::not_started(&program, &error))
            .map_err(into_error)?;
        // Nothing is sent for a notification, so it needs no stream.
        let stream = stream && id.is_some();
        let limit = match stream {
            true => WINDOW,
            false => MESSAGE_LIMIT - reply_head(id).len() - TRUNCATED_TAIL.len(),
        };
        Ok(LogsFetch {
            job,
            program,
            container,
            id: id.cloned(),
            stdout: LaneParser::default(),
            stderr: LaneParser::default(),
            lines: Merge::new(limit),
            ended: None,
            stream: stream.then(Stream::default),
            heard: now,
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
        if waiting { falls_silent.min(self.job.deadline()) } else { self.job.deadline() }
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
        self.lines.held() + self.stdout.held() + self.stderr.held()
    }

    /// Moves on as far as it goes without waiting. Returns the outcome once there is one. Reads
    /// docker's pipes only if `may_read`.
    pub fn turn(&mut self, now: Instant, may_read: bool, session: &mut Session) -> Option<Outcome> {
        if self.ended.is_none() && now >= self.job.deadline() {
            let (program, seconds) = (&self.program, DEADLINE.as_secs());
            let message = format!(
                "{program} logs {}: not done within {seconds} s; ask for fewer lines, or run sudo \
                 {program} ps on the machine to see whether docker answers",
                self.container
            );
            return Some(Err(Error::new(rpc::Code::TookTooLong, message)));
        }
        let has_room = self.stream.is_none() || session.is_drained();
        let reading = self.ended.is_none() && may_read && has_room;
        if let Err(error) = self.job.listen(reading) {
            return Some(Err(Error::new(rpc::Code::InternalError, error.to_string())));
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
            Some(status) if !status.success() => Some(Err(self.failure(status))),
            Some(_) if self.stream.is_none() => Some(Ok(self.reply())),
            ended => self.send_chunk(ended.is_some(), session),
        }
    }

    fn read(&mut self, now: Instant) {
        let LogsFetch { job, stdout, stderr, lines, stream, heard, .. } = self;
        let whole = stream.is_none();
        let mut keep = |lane, line: Line| {
            lines.push(lane, line);
            while whole && lines.is_over_limit() {
                lines.forget_oldest();
            }
        };
        let progress = job.turn(now, |pipe, bytes| {
            *heard = now;
            match pipe {
                Pipe::Stdout => stdout.push(bytes, &mut |line| keep(Lane::Stdout, line)),
                Pipe::Stderr => stderr.push(bytes, &mut |line| keep(Lane::Stderr, line)),
            }
        });
        if let Progress::Ended(status) = progress {
            stdout.finish(&mut |line| keep(Lane::Stdout, line));
            stderr.finish(&mut |line| keep(Lane::Stderr, line));
            self.ended = Some(status);
        }
    }

    /// The only message of a fetch that is not streamed.
    fn reply(&mut self) -> Answer {
        let count = self.lines.len();
        let (tail, note) = match self.lines.is_truncated() {
            true => (TRUNCATED_TAIL, ", truncated"),
            false => (REPLY_TAIL, ""),
        };
        let head = reply_head(self.id.as_ref());
        let mut message = Vec::with_capacity(head.len() + self.lines.encoded_len() + tail.len());
        message.extend_from_slice(head.as_bytes());
        self.lines.move_all(&mut message);
        message.extend_from_slice(tail.as_bytes());
        self.answer(message.into(), format!("{count} lines"), note)
    }

    /// Sends a chunk of the oldest lines if there are enough, or if docker has ended. Returns the
    /// outcome after the last chunk.
    fn send_chunk(&mut self, ended: bool, session: &mut Session) -> Option<Outcome> {
        let stream = self.stream.as_mut()?;
        if self.lines.is_empty() && ended {
            let count = stream.sent;
            let truncated = if self.lines.is_truncated() { ",\"truncated\":true" } else { "" };
            let message = format!("{}{count}{truncated}}}}}\n", stream_head(self.id.as_ref()));
            return Some(Ok(self.answer(message.into(), format!("{count} lines streamed"), "")));
        }
        if !ended && !self.lines.is_over_limit() {
            return None;
        }
        let mut chunk = chunk_head(self.id.as_ref(), stream.seq).into_bytes();
        let mut count = 0;
        while let Some(length) = self.lines.oldest_len() {
            let room = CHUNK - CHUNK_TAIL.len();
            let enough = !ended && self.lines.encoded_len() < WINDOW / 2;
            if count > 0 && (enough || chunk.len() + 1 + length > room) {
                break;
            }
            if count > 0 {
                chunk.push(b',');
            }
            self.lines.move_oldest(&mut chunk);
            count += 1;
        }
        chunk.extend_from_slice(CHUNK_TAIL.as_bytes());
        stream.seq += 1;
        stream.sent += count;
        session.send(chunk);
        None
    }

    fn answer(&self, message: Bytes, what: String, detail: &str) -> Answer {
        let summary = format!("{}: {what}", self.container);
        Answer { message, summary, detail: detail.to_owned(), level: Level::Info }
    }

    fn failure(&self, status: ExitStatus) -> Error {
        let complaint = match self.stderr.complaint() {
            "" => self.stdout.complaint(),
            complaint => complaint,
        };
        into_error(Failure::classify(&self.program, complaint, status))
    }
}

fn reply_head(id: Option<&Id>) -> String {
    rpc::result_head(id) + "{\"lines\":["
}

fn stream_head(id: Option<&Id>) -> String {
    format!("{}],\"streamed\":", reply_head(id))
}

fn chunk_head(id: Option<&Id>, seq: u64) -> String {
    let id = id.map_or("null", Id::json);
    rpc::notification_head("logs_chunk") + &format!("{{\"id\":{id},\"seq\":{seq},\"lines\":[")
}

fn into_error(failure: Failure) -> Error {
    let code = match failure {
        Failure::NoSuchContainer(_) => rpc::Code::NoSuchContainer,
        Failure::Unusable(_) => rpc::Code::DockerUnusable,
        Failure::Other(_) => rpc::Code::InternalError,
    };
    Error::new(code, failure.to_string())
}
