//! What the loop wakes for, and the connection that it has.

use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;

use super::connected::{Connected, News};
use super::handover::Step;

/// How long the last close frame may stay without an answer; the whole end takes a second at most.
const FAREWELL: Duration = Duration::from_millis(500);

pub enum Event {
    /// A signal asks the program to end.
    Stop,
    /// The backoff is over.
    Dial,
    Session(News),
    Handover(Step),
}

/// The connection to the gateway.
pub enum Link {
    /// There is none. The next dial is due at `until`.
    Down {
        until: Instant,
    },
    Up(Box<Connected>),
}

impl Link {
    pub fn connected(&mut self) -> Option<&mut Connected> {
        match self {
            Link::Down { .. } => None,
            Link::Up(connected) => Some(connected),
        }
    }

    /// Closes the session, if there is one, because this process ends.
    pub fn leave(&mut self, now: Instant, why: &str) {
        if let Some(connected) = self.connected() {
            connected.leave(now, CloseCode::Away, why.to_owned(), FAREWELL);
        }
    }
}
