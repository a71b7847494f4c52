//! From a configuration to a WebSocket, all phases under one deadline. A failure is a typed cause.
//!
//! Each phase reads top to bottom like blocking code. Each wait is the waiter's, so a signal ends it
//! at once. Children other than the resolver wait until the dial is over.

mod phases;
mod attempt;
mod failure;
mod words;
mod resolve;
mod tcp;
mod answer;
mod proxy;
mod secure;
mod refusal;
mod handshake;

pub use attempt::{Attempt, Passed};
pub use failure::{Cause, Error, Failure, Phase, Proxy as ProxyFailure};
pub use phases::{Dialed, ask, dial, reach};
pub use proxy::Tunnel;
pub use resolve::print_addresses;
