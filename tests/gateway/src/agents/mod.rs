//! The agents: one session each, in the words of the wire.

pub mod rpc;
pub mod session;
