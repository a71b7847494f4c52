//! The messages that arrive. Pure.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error::{Code, Error};

/// A message from the gateway: one text frame.
#[derive(Debug)]
pub enum Incoming {
    Request(Request),
    Response(Response),
}

/// A request, or a notification where it has no id.
#[derive(Debug)]
pub struct Request {
    pub id: Option<Id>,
    pub method: String,
    pub params: Option<Box<RawValue>>,
}

/// An answer to a request of ours.
#[derive(Debug)]
pub struct Response {
    pub id: Option<Id>,
    pub outcome: Result<Box<RawValue>, Box<RawValue>>,
}

/// The id of a request: a string or a number, kept as the bytes it was written in, because `1e2`
/// and a number of thirty digits have to come back as they were.
#[derive(Clone, Debug, Serialize)]
pub struct Id(Box<RawValue>);

/// The longest id, in bytes, that is taken: an answer must have room for it.
pub(super) const ID_LIMIT: usize = 16 * 1024;

/// Reads one message.
///
/// # Errors
/// The error to answer with, and `id: null`: [`Code::ParseError`] for a text that is not JSON,
/// [`Code::InvalidRequest`] for JSON that is not a request, notification or response.
pub fn parse(text: &str) -> Result<Incoming, Error> {
    let invalid = |why: &str| Error::new(Code::InvalidRequest, format!("invalid request: {why}"));
    let not_json = |error: serde_json::Error| {
        Error::new(Code::ParseError, format!("parse error: the message is not JSON: {error}"))
    };
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next();
    if first != Some(b'{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(not_json)?;
        return Err(invalid(match first {
            Some(b'[') => "batches are not supported; send the requests one by one",
            _ => "not an object",
        }));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
        if error.is_data() { invalid(&error.to_string()) } else { not_json(error) }
    })?;
    if envelope.jsonrpc.and_then(string).as_deref() != Some("2.0") {
        return Err(invalid("jsonrpc is not \"2.0\""));
    }
    let Some(method) = envelope.method else {
        let id = envelope.id.and_then(|raw| Id::from_raw(raw).ok());
        return match (envelope.result, envelope.error.filter(|error| error.get() != "null")) {
            (_, Some(error)) => {
                Ok(Incoming::Response(Response { id, outcome: Err(error.to_owned()) }))
            }
            (Some(result), _) => {
                Ok(Incoming::Response(Response { id, outcome: Ok(result.to_owned()) }))
            }
            (None, None) => Err(invalid("no method")),
        };
    };
    let method = string(method).ok_or_else(|| invalid("method is not a string"))?;
    let id = envelope.id.map(Id::from_raw).transpose().map_err(invalid)?;
    Ok(Incoming::Request(Request { id, method, params: envelope.params.map(RawValue::to_owned) }))
}

/// Parameters as the type that a handler takes. Absent parameters and `null` count as `{}`.
///
/// # Errors
/// [`Code::InvalidParams`], naming what is wrong.
pub fn params<'a, P: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<P, Error> {
    let text = match params.map(RawValue::get) {
        None | Some("null") => "{}",
        // serde would fill a struct from an array as well, by position.
        Some(text) if !text.starts_with('{') => {
            return Err(Error::new(Code::InvalidParams, "invalid params: not an object".into()));
        }
        Some(text) => text,
    };
    serde_json::from_str(text)
        // serde repeats the value that it did not expect, which may be long and hold anything.
        .map_err(|error| {
            let why: String = error.to_string().escape_debug().take(200).collect();
            Error::new(Code::InvalidParams, format!("invalid params: {why}"))
        })
}

impl Id {
    /// The JSON it was written in.
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// Whether both are one id: strings of the same text, however it is escaped, or numbers of the
    /// same bytes, since no type holds every number.
    pub fn is(&self, other: &Id) -> bool {
        let text = |id: &Id| string(&id.0);
        self.json() == other.json() || text(self).is_some_and(|own| text(other) == Some(own))
    }

    /// # Errors
    /// What is wrong with it.
    pub fn from_raw(raw: &RawValue) -> Result<Id, &'static str> {
        match raw.get().as_bytes() {
            [b'"' | b'-' | b'0'..=b'9', ..] if raw.get().len() <= ID_LIMIT => {
                Ok(Id(raw.to_owned()))
            }
            [b'"' | b'-' | b'0'..=b'9', ..] => Err("the id is over 16 KiB"),
            _ => Err("the id is neither a string nor a number"),
        }
    }
}

/// All members that a message may have. [`parse`] checks which of them make sense together.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells a member that is `null` from one that is absent, which `Option` alone does not.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}
