//! The messages that leave. Pure.

use serde::Serialize;

use super::error::Error;
use super::incoming::Id;

/// The end of every message, after its last member.
pub const TAIL: &str = "}\n";

/// A request of ours. `method` has only letters and underscores.
pub fn request(id: u64, method: &'static str, params: &impl Serialize) -> String {
    let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":"#);
    complete(head, params)
}

/// A message that wants no answer. `method` has only letters and underscores.
pub fn notification(method: &'static str, params: &impl Serialize) -> String {
    complete(notification_head(method), params)
}

/// The answer to a request that succeeded.
pub fn result(id: &Id, result: &impl Serialize) -> String {
    complete(result_head(Some(id)), result)
}

/// The answer to a request that failed; without an id, to a text that is not a request.
pub fn error(id: Option<&Id>, error: &Error) -> String {
    complete(head(id, "error"), error)
}

/// A notification up to its parameters. They and [`TAIL`] complete it: for parameters that are too
/// large to be encoded at once, or that are encoded already.
pub fn notification_head(method: &'static str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":"#)
}

/// As [`notification_head`]: an answer up to its result.
pub fn result_head(id: Option<&Id>) -> String {
    head(id, "result")
}

fn head(id: Option<&Id>, member: &'static str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":"#, id.map_or("null", Id::json))
}

fn complete(head: String, value: &impl Serialize) -> String {
    let mut message = head.into_bytes();
    // Only a map whose keys are not strings could fail to be encoded, and there is none.
    let _ = serde_json::to_writer(&mut message, value);
    message.extend_from_slice(TAIL.as_bytes());
    String::from_utf8(message).unwrap_or_default()
}
