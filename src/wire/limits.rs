//! The sizes of what goes over the wire.

use tungstenite::protocol::WebSocketConfig;

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
