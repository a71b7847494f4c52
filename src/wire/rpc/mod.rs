//! JSON-RPC 2.0: parses the messages that arrive, encodes the messages that leave. Pure.

mod error;
mod incoming;
mod outgoing;

pub use super::limits::MESSAGE_LIMIT;
pub use error::*;
pub use incoming::*;
pub use outgoing::*;

#[cfg(test)]
mod tests;
