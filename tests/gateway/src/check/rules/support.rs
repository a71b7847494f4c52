//! What several sections say about a message.

use serde_json::Value;

use super::super::bench::Bench;
use super::super::fault::{Outcome, broken, ensure};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::super::wire::trace::shortened;

pub const PARSE_ERROR: i64 = -32700;
pub const INVALID_REQUEST: i64 = -32600;
pub const UNKNOWN_METHOD: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
pub const NO_CONTAINER: i64 = -32001;
pub const NO_DOCKER: i64 = -32002;
pub const TOO_LONG: i64 = -32003;
pub const BUSY: i64 = -32004;
pub const NO_DOWNLOAD: i64 = -32010;
pub const WRONG_SUM: i64 = -32011;
pub const UNFIT: i64 = -32012;
pub const FORBIDDEN: i64 = -32014;

/// Holds `message` to an error with this code. `to` says what was asked.
pub fn expect_code(message: &Message, code: i64, to: &str) -> Outcome {
    ensure(message.code() == Some(code), || {
        format!("{code} was due to {to}; it came: {}", shown(message))
    })
}

/// The result; an error breaks the rule.
pub fn result<'a>(message: &'a Message, to: &str) -> Outcome<&'a Value> {
    match message.result() {
        Some(result) => Ok(result),
        None => broken(format!("a result was due to {to}; it came: {}", shown(message))),
    }
}

pub fn shown(message: &Message) -> String {
    shortened(&message.text())
}

/// Asks with params that are JSON text, and any id.
pub async fn ask_text(
    bench: &Bench,
    session: &Session,
    method: &str,
    params: &str,
) -> Outcome<Message> {
    let id = session.next_id();
    session.request_as(&id, method, params).await;
    bench.answer_to(session, &id, 2.0).await
}

/// The texts of the lines of a result or of a chunk.
pub fn texts(lines: &Value) -> Vec<&str> {
    let lines = lines.as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().map(|line| line["text"].as_str().unwrap_or_default()).collect()
}
