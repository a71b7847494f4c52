//! What is read from texts, and what is written for values.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::incoming::ID_LIMIT;
use super::*;

fn request_of(text: &str) -> Request {
    match parse(text) {
        Ok(Incoming::Request(request)) => request,
        other => panic!("{text}: {other:?}"),
    }
}

fn code_of(text: &str) -> Code {
    parse(text)
        .map(|incoming| panic!("{text}: {incoming:?}"))
        .unwrap_or_else(|error: Error| error.code)
}

#[test]
fn ids_come_back_byte_for_byte() {
    for id in ["1", "1e2", "-0.10", "123456789012345678901234567890", r#""a\u0041\/""#, r#""""#] {
        let request = request_of(&format!(r#"{{"jsonrpc":"2.0", "id" : {id} ,"method":"m"}}"#));
        let answer = result(&request.id.unwrap(), &true);
        assert_eq!(answer, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":true}}\n"));
    }
}

#[test]
fn ids_are_the_same_by_text_or_by_the_bytes_of_a_number() {
    let id = |json: &str| Id::from_raw(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
    for (one, other) in
        [(r#""a/b""#, r#""\u0061\/b""#), ("1e2", "1e2"), (r#""\ud800""#, r#""\ud800""#)]
    {
        assert!(id(one).is(&id(other)) && id(other).is(&id(one)), "{one} {other}");
    }
    for (one, other) in
        [("1", "2"), ("1", "1.0"), ("1e2", "100"), ("1", r#""1""#), (r#""a""#, r#""A""#)]
    {
        assert!(!id(one).is(&id(other)) && !id(other).is(&id(one)), "{one} {other}");
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
        assert_eq!(code_of(text), Code::ParseError, "{text}");
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
        assert_eq!(code_of(text), Code::InvalidRequest, "{text}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "x".repeat(ID_LIMIT));
    assert_eq!(code_of(&long), Code::InvalidRequest);
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
        assert_eq!(of(text), Err(Code::InvalidParams), "{text}");
    }
}

#[test]
fn messages_are_one_line_of_json() {
    let id = request_of(r#"{"jsonrpc":"2.0","id":"a","method":"m"}"#).id.unwrap();
    let unfit = Error::new(Code::Unfit, "no \"x\"".to_owned());
    for (message, expected) in [
        (
            request(1, "register", &[2]),
            r#"{"jsonrpc":"2.0","id":1,"method":"register","params":[2]}"#,
        ),
        (notification("n", &[2]), r#"{"jsonrpc":"2.0","method":"n","params":[2]}"#),
        (result(&id, &[2]), r#"{"jsonrpc":"2.0","id":"a","result":[2]}"#),
        (
            error(None, &unfit),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32012,"message":"no \"x\""}}"#,
        ),
    ] {
        assert_eq!(message, format!("{expected}\n"));
    }
}

#[test]
fn a_code_is_known_by_its_number() {}
