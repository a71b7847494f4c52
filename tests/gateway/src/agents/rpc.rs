//! JSON-RPC 2.0 as it is on the wire: types, parse and encode; knows no socket.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// An agent's message.
pub enum Message {
    Request {
        id: Box<RawValue>,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
    },
    /// An `id` of `None` was null: the agent could not read ours.
    Response {
        id: Option<Box<RawValue>>,
        outcome: Result<Value, Error>,
    },
}

/// `code` and `message` as JSON-RPC has them; an `id` is kept raw, so that it is echoed byte for
/// byte.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Error {
    pub code: i64,
    pub message: String,
}

pub const INVALID_REQUEST: i64 = -32600;
pub const METHOD_NOT_FOUND: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
/// The gateway's own: it was told to refuse (`refuse-register on`).
pub const REFUSED: i64 = -32000;

#[derive(Deserialize)]
struct Wire {
    jsonrpc: String,
    id: Option<Box<RawValue>>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    // `"result": null` is a result; only its absence is none.
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<Error>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

pub fn parse(text: &str) -> Result<Message, String> {
    let wire: Wire = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if wire.jsonrpc != "2.0" {
        return Err(format!("jsonrpc is {:?}, not \"2.0\"", wire.jsonrpc));
    }
    let (id, params) = (wire.id, wire.params);
    match (wire.method, wire.result, wire.error) {
        (Some(method), None, None) => Ok(match id {
            Some(id) => Message::Request { id, method, params },
            None => Message::Notification { method, params },
        }),
        (None, Some(result), None) => Ok(Message::Response { id, outcome: Ok(result) }),
        (None, None, Some(error)) => Ok(Message::Response { id, outcome: Err(error) }),
        _ => Err("not exactly one of method, result and error".to_owned()),
    }
}

pub fn request(id: &Value, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

pub fn response(id: &RawValue, outcome: Result<Value, Error>) -> String {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    }
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    serde_json::to_string(&Response { jsonrpc: "2.0", id, result, error })
        .expect("strings and numbers always encode")
}
