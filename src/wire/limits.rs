//! The sizes of what goes over the wire, and how long a gateway can keep the agent away.

use std::time::Duration;

use tungstenite::protocol::WebSocketConfig;

/// The longest time that a gateway can ask the agent to stay away: by `Retry-After`, or in the answer to
/// `register`.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

/// A message holds at most this many bytes, in either direction.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

/// A frame holds at most this many bytes; a larger message goes out in fragments of this size.
pub const FRAGMENT: usize = 64 * 1024;

/// tungstenite with the protocol's limits in place of its own, which are far larger.
pub fn websocket() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
        .read_buffer_size(8 * 1024)
        // A fragment and the control frames beside it are collected before they are written.
        .write_buffer_size(2 * FRAGMENT)
        .max_write_buffer_size(4 * FRAGMENT)
}
