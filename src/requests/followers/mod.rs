//! The follows under way: at most eight, beside the requests in flight. They end with the session that
//! they came by.
//!
//! Each turn of the loop reads what one docker has printed, and sends one chunk, so that turns are short.

mod pace;

use std::time::Instant;

use crate::requests::asked::Asked;
use crate::requests::handlers::logs_fetch::{LogsFollow, Room};
use crate::wire::rpc::{self, Error, Id, Request};
use crate::wire::session::Session;
use pace::Pace;

const LIMIT: usize = 8;
/// Bytes of docker's output in memory, all follows together.
const BUDGET: usize = 1024 * 1024;
#[derive(Default)]
pub struct Followers {
    list: Vec<Running>,
    pace: Pace,
    /// How many chunks were sent.
    chunks: u64,
}

struct Running {
    asked: Asked,
    follow: LogsFollow,
    /// The number of its last chunk.
    sent: u64,
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
        self.list.push(Running { asked: Asked::new(request, now), follow, sent: 0 });
    }

    /// Ends the follow of this id with the next turn. Says whether there is one.
    pub fn cancel(&mut self, id: &Id) -> bool {
        self.list.iter_mut().any(|running| running.follow.cancel(id))
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
        // A reading may be what lets lines leave, also if it has found nothing.
        let read = self.read(now);
        self.send_chunk(now, session) || read || self.list.len() < before
    }

    /// When the next turn is due even if docker says nothing and the gateway takes nothing.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let room = self.room(now);
        let passes = self.list.iter().filter_map(|running| running.follow.deadline(room));
        let is_ready = self.list.iter().any(|running| running.follow.is_ready());
        passes.chain(self.pace.deadline(now).filter(|_| is_ready)).min()
    }

    /// Sends a chunk of the follow that has waited longest, if it is time for a chunk.
    fn send_chunk(&mut self, now: Instant, session: &mut Session) -> bool {
        let ready = self.list.iter_mut().filter(|running| running.follow.is_ready());
        let next = ready.min_by_key(|running| running.sent);
        let may_send = self.pace.may_send(now, next.is_some(), session.has_sent_all());
        let Some(running) = next.filter(|_| may_send) else { return false };
        self.chunks += 1;
        running.sent = self.chunks;
        let chunk = running.follow.chunk();
        self.pace.sent(now, chunk.len());
        session.send(chunk);
        true
    }

    /// Reads what one docker has printed.
    fn read(&mut self, now: Instant) -> bool {
        let room = self.room(now);
        let read = self.list.iter_mut().position(|running| running.follow.pass(now, room));
        if let Some(index) = read {
            // The others come first now.
            self.list.rotate_left(index + 1);
        }
        read.is_some()
    }

    fn room(&self, now: Instant) -> Room {
        let held: usize = self.list.iter().map(|running| running.follow.held()).sum();
        match held < BUDGET {
            _ if self.pace.is_lost(now) => Room::Forget,
            true => Room::Some,
            false => Room::None,
        }
    }
}

#[cfg(test)]
mod tests;
