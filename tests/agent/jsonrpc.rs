//! JSON-RPC 2.0: which message gets which answer, and which gets none.

use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Setup};

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;

#[test]
fn ids_are_echoed_byte_for_byte() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let ids = [
        "0",
        "7",
        "-17",
        "-0",
        "1.0",
        "1e2",
        "1E+2",
        "1e400",
        "0.10",
        "123456789012345678901234567890",
        "18446744073709551616",
        r#""""#,
        r#""abc""#,
        r#""string with \u0041 escape""#,
        r#""\/ \" \\ \n \ud83d\ude00""#,
        r#""ключ 😀""#,
    ];
    for id in ids {
        let response =
            session.exchange(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"nope"}}"#));
        assert_eq!((response.id.get(), response.code()), (id, METHOD_NOT_FOUND));
    }
    let long = format!("\"{}\"", "i".repeat(10_000));
    let response = session.exchange(format!(r#"{{"method":"nope","id":{long},"jsonrpc":"2.0"}}"#));
    assert_eq!(response.id.get(), long);
}

#[test]
fn ids_are_echoed_in_results_too() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for id in ["1e2", r#""\u0041""#] {
        session.send_text(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"metrics_collect"}}"#));
        let text = session.next_text();
        assert!(text.contains(&format!(r#""id":{id}"#)), "{text}");
        session.next_notification("health_snapshot");
    }
}

#[test]
fn what_is_no_request_gets_an_error_without_an_id() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let cases = [
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":null,"method":"nope"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":true,"method":"nope"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":[1],"method":"nope"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":{"a":1},"method":"nope"}"#),
        (INVALID_REQUEST, r#"{"id":1,"method":"metrics_collect"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"1.0","id":1,"method":"metrics_collect"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":2.0,"id":1,"method":"metrics_collect"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":null,"id":1,"method":"metrics_collect"}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":1}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":1,"params":{}}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":1,"method":5}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":1,"method":null}"#),
        (INVALID_REQUEST, r#"{"jsonrpc":"2.0","id":1,"method":["metrics_collect"]}"#),
        (INVALID_REQUEST, "{}"),
        (INVALID_REQUEST, "5"),
        (INVALID_REQUEST, r#""x""#),
        (INVALID_REQUEST, "null"),
        (INVALID_REQUEST, "true"),
        (INVALID_REQUEST, "[]"),
        (INVALID_REQUEST, r#"[{"jsonrpc":"2.0","id":1,"method":"metrics_collect"}]"#),
        (PARSE_ERROR, ""),
        (PARSE_ERROR, " \n"),
        (PARSE_ERROR, "hello"),
        (PARSE_ERROR, "{"),
        (PARSE_ERROR, r#"{"jsonrpc":"2.0","id":1,"method":"metrics_collect""#),
        (PARSE_ERROR, r#"{"jsonrpc":"2.0","id":1,"method":"metrics_collect"} x"#),
        (PARSE_ERROR, r#"{"jsonrpc":"2.0","id":01,"method":"metrics_collect"}"#),
        (PARSE_ERROR, "{'jsonrpc':'2.0'}"),
        (PARSE_ERROR, "\u{feff}{}"),
    ];
    for (code, text) in cases {
        let response = session.exchange(text);
        assert_eq!((response.code(), response.id.get()), (code, "null"), "{text}: {response:?}");
        let message = response.message();
        assert!(!message.is_empty() && !message.contains('\n'), "{text}: {message:?}");
    }
    session.assert_quiet();
}

#[test]
fn unknown_methods_are_answered_with_their_name() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for method in
        ["nope", "", "register", "health_snapshot", "Metrics_Collect", "métriques", "a\u{1}b"]
    {
        let response = session.request(1, method, json!({}));
        assert_eq!(response.code(), METHOD_NOT_FOUND, "{method}");
        assert!(!response.message().contains(['\n', '\u{1}']), "{response:?}");
    }
    // Until the agent can upgrade itself; goes with that issue.
}

#[test]
fn line_feeds_and_blanks_round_a_request_are_nothing() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let response =
        session.exchange(" {\"jsonrpc\":\"2.0\",\n\t\"id\": 4 ,\"method\":\"nope\"}\r\n\n");
    assert_eq!((response.id.get(), response.code()), ("4", METHOD_NOT_FOUND));
    let response =
        session.exchange(r#"{"jsonrpc":"2.0","id":5,"method":"no\u0070e","extra":[1,{}]}"#);
    assert_eq!((response.id.get(), response.code()), ("5", METHOD_NOT_FOUND));
}

#[test]
fn notifications_and_stray_responses_are_not_answered() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let silent = [
        r#"{"jsonrpc":"2.0","method":"nope"}"#,
        r#"{"jsonrpc":"2.0","method":"nope","params":[1,2]}"#,
        r#"{"jsonrpc":"2.0","method":"logs_fetch","params":{"container":"--help"}}"#,
        r#"{"jsonrpc":"2.0","method":"metrics_collect","params":5}"#,
        r#"{"jsonrpc":"2.0","id":77,"result":{"ok":true}}"#,
        r#"{"jsonrpc":"2.0","id":"77","result":null}"#,
        r#"{"jsonrpc":"2.0","id":77,"error":{"code":-32000,"message":"what?"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#,
        // A second answer to `register` changes nothing.
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#,
    ];
    for text in silent {
        session.send_text(text);
        session.assert_quiet();
    }
}

#[test]
fn notifications_are_carried_out() {
    let setup = Setup::new();
    let docker = setup.docker("exit 0");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    session.notify("logs_fetch", json!({"container": "web"}));
    docker.wait_for_calls("logs ", 1);
    session.notify("metrics_collect", json!({}));
    let snapshot = session.next_notification("health_snapshot");
    assert!(snapshot["cpu_pct"].is_number(), "{snapshot}");
    session.assert_quiet();
}

#[test]
fn hostile_json_is_survived() {
    let (_peer, mut agent, mut session) = Agent::registered(Setup::new());
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"nope","params":{}"#, "[".repeat(500_000));
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
    let repeated = format!("{{{}}}", vec![r#""id":1"#; 50_000].join(","));
    for text in [deep, nested, objects, repeated] {
        assert_ne!(session.exchange(text).code(), 0);
    }
    let doubled = [
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"nope"}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"nope"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"nope","method":"nope"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"logs_fetch","params":{"container":"a","container":"--help"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"nope","params":{"\ud800":1}}"#,
    ];
    for text in doubled {
        assert_ne!(session.exchange(text).code(), 0, "{text}");
    }
    session.assert_quiet();
    agent.assert_running();
}

#[test]
fn each_request_in_flight_gets_its_own_answer() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for id in 0..200 {
        session.send_request(id, "nope", json!({}));
    }
    for id in 0..200 {
        assert_eq!(session.response_to(id, Duration::from_secs(10)).code(), METHOD_NOT_FOUND);
    }
    session.assert_quiet();
}
