//! From bytes to messages: dialing, TLS, WebSocket frames, heartbeat, JSON-RPC.
//!
//! Up the stack: [`dial`] makes a [`transport`]; [`frames`] counts what is read from it; a
//! [`session`] over both sends and receives messages and keeps the [`heartbeat`]; [`rpc`] turns
//! messages into values and back.

pub mod limits;
mod no_certificate;
pub mod tls;
pub mod transport;
pub mod frames;
pub mod dial;
pub mod heartbeat;
mod outbox;
pub mod session;
pub mod rpc;
