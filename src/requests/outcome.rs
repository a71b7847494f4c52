//! The response to a request, and its line in the log.

use log::Level;
use tungstenite::Bytes;

use crate::wire::rpc::Error;

pub type Outcome = Result<Answer, Error>;

pub struct Answer {
    /// The whole response, in JSON.
    pub message: Bytes,
    /// A few words for the log, before the duration.
    pub summary: String,
    /// More for the log, after the duration: empty, or with what parts it from the duration.
    pub detail: String,
    /// The level of the log line.
    pub level: Level,
}
