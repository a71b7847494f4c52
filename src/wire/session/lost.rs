//! Why a session is over, and the words for it.

use std::fmt;
use std::io;

use crate::config::variables::INSTANCE_ID;
use crate::wire::heartbeat::{Death, PATIENCE};

#[derive(Debug)]
pub enum Lost {
    /// The gateway closed it, with a code and a reason.
    Closed(Option<(u16, String)>),
    /// The connection ended without a close frame.
    Ended,
    Socket(io::Error),
    Dead(Death),
    /// We closed it, for this reason.
    Left(String),
}

/// The close code of a gateway that has a newer session of the same instance id.
const DOUBLED: u16 = 4409;

impl Lost {
    /// Another agent has registered under the same instance id.
    pub fn is_doubled(&self) -> bool {
        matches!(self, Lost::Closed(Some((DOUBLED, _))))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let patience = PATIENCE.as_secs();
        match self {
            Lost::Closed(None) => f.write_str("the gateway closed the session"),
            Lost::Closed(Some((code, reason))) => {
                write!(f, "the gateway closed the session ({code}")?;
                if !reason.is_empty() {
                    write!(f, ": {}", reason.escape_debug())?;
                }
                f.write_str(")")?;
                // Gateways of the first protocol have no code for it.
                match self.is_doubled() || reason.contains("replaced") {
                    true => write!(
                        f,
                        "; another machine registers under the same instance id: check {INSTANCE_ID} and \
                         /etc/machine-id"
                    ),
                    false => Ok(()),
                }
            }
            Lost::Ended => f.write_str("the connection ended without a close frame"),
            Lost::Socket(error) => write!(f, "the connection failed: {error}"),
            Lost::Dead(Death::Unanswered) => {
                write!(f, "the gateway did not answer a ping within {patience} s")
            }
            Lost::Dead(Death::Unsent) => {
                write!(f, "the gateway does not read: a ping could not be sent within {patience} s")
            }
            Lost::Left(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_replaced_tells_where_to_look() {
        let closed = |reason: &str| Lost::Closed(Some((4000, reason.to_owned()))).to_string();
        let hint = "(4000: replaced by a newer session); another machine registers under the \
                    same instance id: check VMKIT_INSTANCE_ID and /etc/machine-id";
        assert!(closed("replaced by a newer session").ends_with(hint));
        assert!(closed("a\nb").ends_with("(4000: a\\nb)"));
        assert!(closed("").ends_with("(4000)"));
        let doubled = Lost::Closed(Some((4409, String::new()))).to_string();
        assert!(doubled.contains("(4409); another machine registers"), "{doubled}");
    }
}
