//! The raw-socket peer of the agent's tests, whose files are shared: TLS and WebSocket by hand, every
//! frame of the agent's held to the rules as it is read.
#![allow(dead_code, reason = "the tests need more of it")]

use std::time::Duration;

#[path = "../agent/support/frame.rs"]
mod frame;
#[path = "../agent/support/peer.rs"]
mod peer;
#[path = "../agent/support/response.rs"]
mod response;
#[path = "../vm/support/server.rs"]
mod server;
#[path = "../agent/support/session.rs"]
mod session;
#[path = "../agent/support/stream.rs"]
mod stream;
#[path = "../agent/support/tls.rs"]
mod tls;

pub use frame::{Frame, opcode};
pub use peer::{Dial, Peer};
pub use server::{Download, Server};
pub use session::{End, Session};
pub use stream::Lost;
pub use tls::{Authority, Identity};

/// A row whose agent says nothing for this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
