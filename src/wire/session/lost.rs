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
    /// The connection was cut, without a close frame.
    pub fn is_cut(&self) -> bool {
        match self {
            Lost::Ended => true,
            Lost::Socket(error) => error.kind() == io::ErrorKind::ConnectionReset,
            Lost::Closed(_) | Lost::Dead(_) | Lost::Left(_) => false,
        }
    }

    /// Another agent has registered under the same instance id.
    pub fn is_doubled(&self) -> bool {
        matches!(self, Lost::Closed(Some((DOUBLED, _))))
    }
}

/// Whether a close frame may have this code (RFC 6455, section 7.4, and the registry that it founds).
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
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
                if !may_be_sent(*code) {
                    f.write_str(", with a code that RFC 6455 does not allow on the wire")?;
                }
                // Gateways of the first protocol have no code of their own for it.
                let is_free = matches!(code, 1000 | 1008 | 4000..=4999);
                match self.is_doubled() || is_free && reason.contains("replaced") {
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
        let restart = Lost::Closed(Some((1012, "the node is being replaced".to_owned())));
        assert!(!restart.to_string().contains("another machine"), "{restart}");
        let doubled = Lost::Closed(Some((4409, String::new()))).to_string();
        assert!(doubled.contains("(4409); another machine registers"), "{doubled}");
    }

    #[test]
    fn an_end_without_a_close_frame_is_a_cut() {
        let socket = |kind: io::ErrorKind| Lost::Socket(kind.into());
        assert!(Lost::Ended.is_cut() && socket(io::ErrorKind::ConnectionReset).is_cut());
        assert!(!socket(io::ErrorKind::TimedOut).is_cut() && !Lost::Closed(None).is_cut());
        assert!(!Lost::Dead(Death::Unanswered).is_cut() && !Lost::Left(String::new()).is_cut());
    }

    #[test]
    fn a_code_is_told_as_it_came() {
        let closed = |code| Lost::Closed(Some((code, "why".to_owned()))).to_string();
        for code in [1000, 1003, 1007, 1013, 1014, 3000, 4999] {
            assert!(closed(code).ends_with(&format!("({code}: why)")), "{}", closed(code));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            let words =
                format!("({code}: why), with a code that RFC 6455 does not allow on the wire");
            assert!(closed(code).ends_with(&words), "{}", closed(code));
        }
    }
}
