//! The kit's own WebSocket server: connections, upgrade requests, sessions, and all that was said.

pub mod dial;
pub mod frame;
pub mod listener;
pub mod message;
pub mod session;
pub mod trace;
