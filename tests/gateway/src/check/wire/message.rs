//! A message of the agent, with its `id` as it was written: an `id` may be a number that no type holds.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[derive(Clone, Debug)]
pub struct Message {
    /// When its last byte was read.
    pub at: Instant,
    pub bytes: Vec<u8>,
    /// The JSON of its `id`; `None` without the member.
    pub id: Option<String>,
    /// `Value::Null` where it is no JSON object.
    pub value: Value,
    /// The place of its last frame among the frames of the session.
    pub frame: usize,
}

impl Message {
    pub fn new(at: Instant, bytes: Vec<u8>, frame: usize) -> Message {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(&bytes).unwrap_or_default();
        let id = members.get("id").map(|id| id.get().to_owned());
        let others = members.iter().filter(|(name, _)| *name != "id");
        let value: Map<String, Value> = others
            .filter_map(|(name, raw)| Some((name.clone(), serde_json::from_str(raw.get()).ok()?)))
            .collect();
        let value = if members.is_empty() { Value::Null } else { Value::Object(value) };
        Message { at, bytes, id, value, frame }
    }

    pub fn method(&self) -> Option<&str> {
        self.value["method"].as_str()
    }

    pub fn params(&self) -> &Value {
        &self.value["params"]
    }

    pub fn result(&self) -> Option<&Value> {
        self.value.get("result")
    }

    /// The code of an error.
    pub fn code(&self) -> Option<i64> {
        self.value["error"]["code"].as_i64()
    }

    pub fn is_response(&self) -> bool {
        self.value.get("result").is_some() || self.value.get("error").is_some()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
