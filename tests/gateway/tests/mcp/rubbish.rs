//! Bodies that are none, that are too long, that never end; and that the gateway serves on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;

use crate::agent::{Agent, SLOW, until};
use crate::gateway::{Gateway, call};

#[tokio::test]
async fn a_body_that_is_no_message_is_refused_in_a_line() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs");
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\u{0}",
        "\"jsonrpc\"",
        r#"{"jsonrpc":"1.0"}"#,
        deep.as_str(),
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}"#,
    ] {
        let answer = gateway.post(&key).body(body.to_owned()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        let shown = &body[..body.len().min(60)];
        assert!(
            status.is_client_error() || text.contains(r#""error""#),
            "{shown}: {status} {text}"
        );
        assert!(text.lines().count() == 1 && text.len() < 1000, "{shown}: {text}");
    }
    let odd = call("list_instances", &json!({"labels": {"a": 1}})).to_string();
    let answer = gateway.post(&key).body(odd).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("the arguments are wrong"), "{answer}");
    assert_eq!(gateway.post(&key).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_is_bounded_and_of_one_kind() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let long = call("list_instances", &json!({"labels": {"a": "x".repeat(64 * 1024)}})).to_string();
    let answer = gateway.post(&key).body(long).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let ask = |kind: &str, accept: &str| {
        let body = call("list_instances", &json!({})).to_string();
        let ask = reqwest::Client::new().post(gateway.url()).bearer_auth(&key).body(body);
        ask.header(CONTENT_TYPE, kind).header(ACCEPT, accept).send()
    };
    // What a form of another site's page can send without asking first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer = ask(kind, "application/json, text/event-stream").await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let answer = ask("application/json", "text/html").await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("logs");
    let agent = Agent::logging(&gateway, "a", json!({}), json!({}), vec!["hello".to_owned()]).await;
    let ask = |container: &str| {
        let body = call("get_logs", &json!({"instance": "a", "container": container}));
        gateway.post(&key).body(body.to_string()).send()
    };
    // More than may be at once.
    let gone: Vec<_> = (0..40).map(|_| tokio::spawn(ask(SLOW))).collect();
    agent.asked("logs_fetch").await;
    until("busy gateway", async || {
        let answer = ask("web").await.unwrap().text().await.unwrap();
        answer.contains("try again in a few seconds").then_some(())
    })
    .await;
    gone.iter().for_each(|ask| ask.abort());
    until("place", async || {
        let answer = ask("web").await.unwrap().text().await.unwrap();
        answer.contains("hello").then_some(())
    })
    .await;
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let sent = Instant::now();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 512];
    let count = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(sent.elapsed() >= Duration::from_secs(9), "it waited for {:?}", sent.elapsed());
}
