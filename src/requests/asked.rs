//! A request that has to be answered: who asked, for what, and since when.

use std::time::Instant;

use crate::logging::PEER;
use crate::requests::outcome::{Answer, Outcome};
use crate::wire::rpc::{self, Error, Id, Request};
use crate::wire::session::Session;

/// The part of a request that its answer needs.
pub struct Asked {
    /// A notification has no id and is not answered.
    pub id: Option<Id>,
    method: String,
    since: Instant,
}

impl Asked {
    pub fn new(request: Request, now: Instant) -> Asked {
        Asked { id: request.id, method: request.method, since: now }
    }

    /// Sends the answer, unless this is a notification, and logs the request: method, duration,
    /// outcome.
    pub fn answer(self, now: Instant, session: &mut Session, outcome: Outcome) {
        let took = now.saturating_duration_since(self.since).as_millis();
        // The name of a method that does not exist may hold anything.
        let method: String = self.method.escape_debug().take(64).collect();
        let message = match outcome {
            Ok(Answer { message, summary, detail, level }) => {
                log::log!(target: PEER, level, "{method}: {summary} in {took} ms{detail}");
                message
            }
            Err(error) => {
                log::info!(target: PEER, "{method}: failed in {took} ms: {error}");
                rpc::error(self.id.as_ref(), &error).into()
            }
        };
        if self.id.is_some() {
            session.send(message);
        }
    }
}

/// Answers a request that was not started.
pub fn refuse(request: Request, now: Instant, session: &mut Session, error: Error) {
    Asked::new(request, now).answer(now, session, Err(error));
}
