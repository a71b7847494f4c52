//! The form of the agent's messages, checked as they are read.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub jsonrpc: String,
    pub id: Box<RawValue>,
    pub result: Option<Value>,
    pub error: Option<ErrorObject>,
}

#[derive(Debug, Deserialize)]
pub struct ErrorObject {
    pub code: i64,
    pub message: String,
}

impl Response {
    #[track_caller]
    pub fn parse(text: &str) -> Response {
        let response: Response = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("no response: {text:?}: {error}"));
        assert_eq!(response.jsonrpc, "2.0");
        assert!(response.result.is_some() != response.error.is_some(), "one of the two: {text}");
        response
    }

    /// The error's code; 0 for a result.
    pub fn code(&self) -> i64 {
        self.error.as_ref().map_or(0, |error| error.code)
    }

    #[track_caller]
    pub fn message(&self) -> &str {
        &self.error.as_ref().expect("an error").message
    }

    #[track_caller]
    pub fn result(&self) -> &Value {
        self.result.as_ref().unwrap_or_else(|| panic!("no result: {self:?}"))
    }
}

/// A message of the agent's: UTF-8, one JSON object, and exactly one line feed, at its end.
#[track_caller]
pub fn checked(message: Vec<u8>) -> String {
    assert!(message.len() <= 1 << 20, "a message of {} bytes", message.len());
    let text = String::from_utf8(message).expect("text frames hold UTF-8");
    assert_eq!(
        text.find('\n'),
        text.len().checked_sub(1),
        "one line feed, the last byte: {text:?}"
    );
    let json = serde_json::from_str::<&RawValue>(&text);
    assert!(json.is_ok() && text.starts_with('{'), "a JSON object: {text:?}");
    text
}
