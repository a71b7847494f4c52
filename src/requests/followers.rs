//! The follows under way: at most eight, beside the requests in flight. They end with the session that
//! they came by.
//!
//! They share one pace, which leaves room for all else on the wire: a chunk goes only when nothing else
//! waits, and a pause follows it. Of a gateway that takes no chunk for two seconds the follows forget
//! their oldest lines; until then docker waits.

use std::time::{Duration, Instant};

use crate::requests::asked::Asked;
use crate::requests::handlers::logs_fetch::{LogsFollow, Room};
use crate::wire::rpc::{self, Error, Id, Request};
use crate::wire::session::Session;

const LIMIT: usize = 8;
/// Bytes of docker's output in memory, all follows together.
const BUDGET: usize = 1024 * 1024;
/// The pause after a chunk, for each of its bytes: 3 MB a second.
const PAUSE_PER_BYTE: Duration = Duration::from_nanos(333);
/// How long a gateway may be behind before lines are forgotten.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Followers {
    list: Vec<Running>,
    pace: Pace,
}

struct Running {
    asked: Asked,
    follow: LogsFollow,
}

/// When the next chunk may go.
#[derive(Default)]
struct Pace {
    next: Option<Instant>,
    /// The session was not ready for a chunk when it was due.
    late: bool,
    /// Since then each chunk was late.
    behind: Option<Instant>,
}

impl Followers {
    /// Whether one more follow may start.
    ///
    /// # Errors
    /// [`rpc::Code::Busy`].
    pub fn check_room(&self) -> Result<(), Error> {
        if self.list.len() < LIMIT {
            return Ok(());
        }
        let message = format!("busy: {LIMIT} logs are followed; cancel one, or ask again later");
        Err(Error::new(rpc::Code::Busy, message))
    }

    pub fn add(&mut self, request: Request, follow: LogsFollow, now: Instant) {
        self.list.push(Running { asked: Asked::new(request, now), follow });
    }

    /// Ends the follows of this id with the next turn. Says whether there is one.
    pub fn cancel(&mut self, id: &Id) -> bool {
        self.list.iter_mut().fold(false, |any, running| running.follow.cancel(id) || any)
    }

    /// Answers the follows that are over, and moves one other on. True if there is more to do at once.
    pub fn turn(&mut self, now: Instant, session: &mut Session) -> bool {
        let before = self.list.len();
        let mut index = 0;
        while let Some(running) = self.list.get_mut(index) {
            match running.follow.outcome() {
                Some(outcome) => self.list.remove(index).asked.answer(now, session, outcome),
                None => index += 1,
            }
        }
        let served = self.serve(now, session);
        if let Some(index) = served {
            // The others come first now.
            self.list.rotate_left(index + 1);
        }
        served.is_some() || self.list.len() < before
    }

    /// When the next turn is due even if docker says nothing and the gateway takes nothing.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let room = self.room(now);
        let passes = self.list.iter().filter_map(|running| running.follow.deadline(room));
        let is_ready = self.list.iter().any(|running| running.follow.is_ready());
        let chunk = match self.pace.next.filter(|next| now < *next) {
            Some(next) => Some(next),
            // The session's socket ends the wait.
            None => self.pace.behind.map(|since| since + PATIENCE).filter(|end| now < *end),
        };
        passes.chain(chunk.filter(|_| is_ready)).min()
    }

    /// Moves the first on that can move, so that a turn of the loop is short. Which it was.
    fn serve(&mut self, now: Instant, session: &mut Session) -> Option<usize> {
        let room = self.room(now);
        self.list.iter_mut().position(|Running { follow, .. }| {
            let has_read = follow.pass(now, room);
            let sends = follow.is_ready() && self.pace.may_send(now, session);
            if sends {
                let chunk = follow.chunk();
                self.pace.sent(now, chunk.len());
                session.send(chunk);
            }
            has_read || sends
        })
    }

    fn room(&self, now: Instant) -> Room {
        let held: usize = self.list.iter().map(|running| running.follow.held()).sum();
        match self.pace.behind {
            Some(since) if now >= since + PATIENCE => Room::Forget,
            _ if held < BUDGET => Room::Some,
            _ => Room::None,
        }
    }
}

impl Pace {
    /// Whether a chunk may go now. One is ready.
    fn may_send(&mut self, now: Instant, session: &Session) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        let may = session.has_sent_all();
        if !may {
            self.late = true;
            self.behind.get_or_insert(now);
        }
        may
    }

    fn sent(&mut self, now: Instant, bytes: usize) {
        if !std::mem::take(&mut self.late) {
            self.behind = None;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.next = Some(now + PAUSE_PER_BYTE * bytes);
    }
}
