//! From bytes to messages: dialing, TLS, WebSocket frames, heartbeat, JSON-RPC.

pub mod dial;
pub mod frames;
pub mod heartbeat;
pub mod rpc;
pub mod session;
pub mod tls;
pub mod transport;
