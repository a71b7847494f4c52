//! What this gateway has asked of one agent and has no answer to yet.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::agents::rpc;
use crate::agents::search::Scanner;
use crate::agents::tail::{Ending, Line, Writer};

/// An agent takes 32 at once, and 8 that follow; the rest is for commands that try more.
const LIMIT: usize = 256;
/// Of these, searches, over or not: an agent can't be told that nobody wants their lines any more.
const SCANS: usize = 8;
/// The agent's own deadline is 30 s; the rest is slack for the way. A search that is over is given up then.
const SCAN_PATIENCE: Duration = Duration::from_secs(40);

pub type Outcome = Result<Value, rpc::Error>;

/// Each request of this process has its own.
pub type Ticket = u64;

/// Who wants the answer.
pub enum Reply {
    Poll,
    Once(oneshot::Sender<Outcome>),
    Tail(Writer),
    Scan(Scanner),
}

struct Pending {
    method: String,
    reply: Reply,
    asked: Instant,
}

#[derive(Default)]
pub struct Requests {
    /// By the raw JSON of their ids.
    pending: HashMap<String, Pending>,
}

/// What is left to do about a response.
pub enum Answered {
    /// Its asker has it.
    Delivered,
    /// Nobody waits for it, and it is an error.
    Failed { method: String, error: rpc::Error },
    /// It answers nothing that was asked.
    Unmatched,
}

/// What is left to do about a `logs_chunk`.
pub enum Chunk {
    Delivered,
    /// Whoever followed has gone: cancel this request.
    Unwanted(Ticket),
    /// It belongs to no follower.
    Other,
}

/// A string that no one types by chance, so that `send` can have every number.
pub fn id(ticket: Ticket) -> Value {
    json!(format!("gateway-{ticket}"))
}

impl Requests {
    /// `false`: too many have no answer yet, so this one must not be sent.
    pub fn add(&mut self, ticket: Ticket, method: &str, reply: Reply) -> bool {
        if let Reply::Scan(scanner) = &reply
            && self.has_many_scans(Instant::now())
        {
            scanner.answer(Err(busy()));
            return false;
        }
        if self.pending.len() >= LIMIT {
            self.pending.retain(|_, pending| pending.is_wanted());
        }
        if self.pending.len() >= LIMIT {
            return false;
        }
        let pending = Pending { method: method.to_owned(), reply, asked: Instant::now() };
        self.pending.insert(id(ticket).to_string(), pending);
        true
    }

    /// Whether the agent owes a snapshot, asked for after this time. What it owes for longer is
    /// given up.
    pub fn is_polled_since(&mut self, time: Instant) -> bool {
        let is_poll = |pending: &Pending| matches!(pending.reply, Reply::Poll);
        self.pending.retain(|_, pending| !is_poll(pending) || pending.asked > time);
        self.pending.values().any(is_poll)
    }

    fn has_many_scans(&mut self, now: Instant) -> bool {
        let is_scan = |pending: &Pending| matches!(pending.reply, Reply::Scan(_));
        self.pending.retain(|_, pending| {
            let late = now.duration_since(pending.asked) > SCAN_PATIENCE;
            !(is_scan(pending) && late) || pending.is_wanted()
        });
        self.pending.values().filter(|pending| is_scan(pending)).count() >= SCANS
    }

    pub fn has(&self, ticket: Ticket) -> bool {
        self.pending.contains_key(&id(ticket).to_string())
    }

    /// `id` is its raw JSON.
    pub fn answer(&mut self, id: Option<&str>, outcome: Outcome) -> Answered {
        let Some(pending) = id.and_then(|id| self.pending.remove(id)) else {
            return Answered::Unmatched;
        };
        match (pending.reply, outcome) {
            (Reply::Once(respond), outcome) => drop(respond.send(outcome)),
            (Reply::Tail(writer), Ok(result)) => {
                let ended = result["ended"].as_str().unwrap_or("container").to_owned();
                writer.end(Ending::Ended(ended));
            }
            (Reply::Tail(writer), Err(error)) => writer.end(Ending::Refused(error)),
            (Reply::Scan(scanner), outcome) => scanner.answer(outcome),
            (Reply::Poll, Err(error)) => {
                return Answered::Failed { method: pending.method, error };
            }
            (Reply::Poll, Ok(_)) => {}
        }
        Answered::Delivered
    }

    /// The error says what is no good about the chunk.
    pub fn chunk(&mut self, params: &mut Value) -> Result<Chunk, String> {
        let id = params["id"].to_string();
        let reply = self.pending.get(&id).map(|pending| &pending.reply);
        let Some(reply @ (Reply::Tail(_) | Reply::Scan(_))) = reply else {
            return Ok(Chunk::Other);
        };
        let lines = params["lines"].take();
        let lines: Vec<Line> = serde_json::from_value(lines).map_err(|error| error.to_string())?;
        let dropped = params["dropped"].as_u64().unwrap_or(0);
        let writer = match reply {
            Reply::Tail(writer) => writer,
            Reply::Scan(scanner) => {
                scanner.push(lines);
                return Ok(Chunk::Delivered);
            }
            _ => return Ok(Chunk::Other),
        };
        if writer.reader_is_gone() {
            let ticket = params["id"].as_str().and_then(|id| id.strip_prefix("gateway-"));
            return Ok(ticket.and_then(|id| id.parse().ok()).map_or(Chunk::Other, Chunk::Unwanted));
        }
        writer.push(lines, dropped);
        Ok(Chunk::Delivered)
    }
}

impl Pending {
    fn is_wanted(&self) -> bool {
        match &self.reply {
            Reply::Poll => true,
            Reply::Once(respond) => !respond.is_closed(),
            Reply::Tail(writer) => !writer.reader_is_gone(),
            Reply::Scan(scanner) => scanner.is_wanted(),
        }
    }
}

fn busy() -> rpc::Error {
    let message = "earlier searches have no answer yet; try again later".to_owned();
    rpc::Error { code: rpc::REFUSED, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::search::{Needle, scan};

    fn needle() -> Needle {
        Needle::new("x", false)
    }

    /// Else whoever begins and cancels many would have an agent stream all of them.
    #[test]
    fn searches_that_are_over_still_count_until_their_answer_is_late() {
        let mut requests = Requests::default();
        let (wanted, _scan) = scan(needle());
        assert!(requests.add(0, "logs_fetch", Reply::Scan(wanted)));
        for ticket in 1..SCANS as Ticket {
            assert!(requests.add(ticket, "logs_fetch", Reply::Scan(scan(needle()).0)));
        }
        let (scanner, refused) = scan(needle());
        assert!(!requests.add(100, "logs_fetch", Reply::Scan(scanner)));
        let ending = refused.read(|seen| seen.ending.clone());
        assert!(matches!(ending, Some(Ending::Refused(_))), "{ending:?}");
        assert!(requests.add(101, "metrics_collect", Reply::Poll), "other requests have room");

        let later = Instant::now() + SCAN_PATIENCE * 2;
        assert!(!requests.has_many_scans(later));
        assert!(requests.has(0), "it is wanted");
        assert!(!requests.has(1) && requests.has(101));
    }
}
