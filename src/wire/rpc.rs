//! JSON-RPC 2.0 as this wire speaks it: parse what arrives, encode what leaves. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A message holds at most this many bytes, in either direction.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

/// What one text frame from the gateway says.
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

/// An error to answer with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Error {
    pub code: i32,
    /// One line that an operator can act on.
    pub message: String,
}

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL_ERROR: i32 = -32603;
pub const NO_SUCH_CONTAINER: i32 = -32001;
pub const DOCKER_UNUSABLE: i32 = -32002;
pub const TOOK_TOO_LONG: i32 = -32003;
pub const BUSY: i32 = -32004;
pub const DOWNLOAD_FAILED: i32 = -32010;
pub const CHECKSUM_MISMATCH: i32 = -32011;
/// The new binary does not run here, is another version, or was given up before.
pub const UNFIT: i32 = -32012;
pub const NOT_REPLACED: i32 = -32013;
/// This machine's owner does not allow it.
pub const FORBIDDEN: i32 = -32014;

/// The longest id that is taken; an answer has to hold it beside everything else.
const ID_LIMIT: usize = 16 * 1024;

/// Reads one message.
///
/// # Errors
/// What to answer, with `id: null`: [`PARSE_ERROR`] for what is not JSON, [`INVALID_REQUEST`] for
/// JSON that is no request, no notification and no response.
pub fn parse(text: &str) -> Result<Incoming, Error> {
    let invalid = |why: &str| Error::new(INVALID_REQUEST, format!("invalid request: {why}"));
    let not_json = |error: serde_json::Error| {
        Error::new(PARSE_ERROR, format!("parse error: the message is not JSON: {error}"))
    };
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next();
    if first != Some(b'{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(not_json)?;
        return Err(invalid(match first {
            Some(b'[') => "batches are not taken; send the requests one by one",
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

/// A request of ours.
pub fn request(id: u64, method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Message<'a, P> {
        jsonrpc: Version,
        id: u64,
        method: &'a str,
        params: &'a P,
    }
    encode(&Message { jsonrpc: Version, id, method, params })
}

/// A message that wants no answer.
pub fn notification(method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Message<'a, P> {
        jsonrpc: Version,
        method: &'a str,
        params: &'a P,
    }
    encode(&Message { jsonrpc: Version, method, params })
}

/// The answer to a request that went well.
pub fn result(id: &Id, result: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Message<'a, R> {
        jsonrpc: Version,
        id: &'a Id,
        result: &'a R,
    }
    encode(&Message { jsonrpc: Version, id, result })
}

/// The answer to a request that did not, or, without an id, to what was no request.
pub fn error(id: Option<&Id>, error: &Error) -> String {
    #[derive(Serialize)]
    struct Message<'a> {
        jsonrpc: Version,
        id: Option<&'a Id>,
        error: &'a Error,
    }
    encode(&Message { jsonrpc: Version, id, error })
}

/// Parameters as the type that a handler takes; absent and `null` are as good as `{}`.
///
/// # Errors
/// [`INVALID_PARAMS`], naming what is wrong.
pub fn params<'a, P: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<P, Error> {
    let text = match params.map(RawValue::get) {
        None | Some("null") => "{}",
        // serde would fill a struct from an array as well, by position.
        Some(text) if !text.starts_with('{') => {
            return Err(Error::new(INVALID_PARAMS, "invalid params: not an object".into()));
        }
        Some(text) => text,
    };
    serde_json::from_str(text)
        // serde repeats what it did not expect, which may be long and hold anything.
        .map_err(|error| {
            let why: String = error.to_string().escape_debug().take(200).collect();
            Error::new(INVALID_PARAMS, format!("invalid params: {why}"))
        })
}

impl Error {
    pub fn new(code: i32, message: String) -> Error {
        Error { code, message }
    }

    pub fn unknown_method(method: &str) -> Error {
        let shown: String = method.chars().take(64).collect();
        Error::new(METHOD_NOT_FOUND, format!("unknown method {shown:?}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl Id {
    /// The JSON it was written in.
    pub fn json(&self) -> &str {
        self.0.get()
    }

    fn from_raw(raw: &RawValue) -> Result<Id, &'static str> {
        match raw.get().as_bytes() {
            [b'"' | b'-' | b'0'..=b'9', ..] if raw.get().len() <= ID_LIMIT => {
                Ok(Id(raw.to_owned()))
            }
            [b'"' | b'-' | b'0'..=b'9', ..] => Err("the id is over 16 KiB"),
            _ => Err("the id is neither a string nor a number"),
        }
    }
}

/// What a message may hold; which of it makes sense together is for [`parse`] to say.
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

/// The `"2.0"` that every message carries.
struct Version;

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("2.0")
    }
}

/// One line of newline-delimited JSON.
fn encode(message: &impl Serialize) -> String {
    // Only maps with keys that are no strings could fail, and there are none.
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_of(text: &str) -> Request {
        match parse(text) {
            Ok(Incoming::Request(request)) => request,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn code_of(text: &str) -> i32 {
        parse(text)
            .map(|incoming| panic!("{text}: {incoming:?}"))
            .unwrap_or_else(|error: Error| error.code)
    }

    #[test]
    fn ids_come_back_byte_for_byte() {
        for id in ["1", "1e2", "-0.10", "123456789012345678901234567890", r#""a\u0041\/""#, r#""""#]
        {
            let request = request_of(&format!(r#"{{"jsonrpc":"2.0", "id" : {id} ,"method":"m"}}"#));
            let answer = result(&request.id.unwrap(), &true);
            assert_eq!(answer, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":true}}\n"));
        }
    }

    #[test]
    fn a_request_without_an_id_is_a_notification() {
        let request = request_of(r#" {"method":"m","jsonrpc":"2.0","params":null} "#);
        assert!(request.id.is_none());
        assert_eq!(request.params.unwrap().get(), "null");
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_no_request() {
        for text in ["", "{", "{]", "nul", r#"{"jsonrpc":"2.0"} x"#, "[1,", "\u{feff}{}"] {
            assert_eq!(code_of(text), PARSE_ERROR, "{text}");
        }
        for text in [
            "5",
            "null",
            r#""x""#,
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#,
            "{}",
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"id":1,"method":"m"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
        ] {
            assert_eq!(code_of(text), INVALID_REQUEST, "{text}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "x".repeat(ID_LIMIT));
        assert_eq!(code_of(&long), INVALID_REQUEST);
    }

    #[test]
    fn depth_is_no_way_in() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}{}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert_eq!(request_of(&deep).method, "m");
    }

    #[test]
    fn responses_are_known_by_having_no_method() {
        let Ok(Incoming::Response(response)) =
            parse(r#"{"jsonrpc":"2.0","id":1,"result":{"ok":true}}"#)
        else {
            panic!("not a response");
        };
        assert_eq!(response.id.unwrap().json(), "1");
        assert_eq!(response.outcome.unwrap().get(), r#"{"ok":true}"#);
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#),
            Ok(Incoming::Response(Response { id: None, outcome: Err(_) }))
        ));
    }

    #[test]
    fn parameters_are_an_object_or_nothing() {
        #[derive(Deserialize, Debug)]
        struct Params {
            #[serde(default)]
            count: u32,
        }
        let of = |text: &str| {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            params::<Params>(Some(&raw)).map(|params| params.count).map_err(|error| error.code)
        };
        assert_eq!(params::<Params>(None).unwrap().count, 0);
        assert_eq!(of("null"), Ok(0));
        assert_eq!(of("{}"), Ok(0));
        assert_eq!(of(r#"{"count":3,"more":[]}"#), Ok(3));
        for text in ["[3]", "5", r#""x""#, "false", r#"{"count":-1}"#] {
            assert_eq!(of(text), Err(INVALID_PARAMS), "{text}");
        }
    }
}
