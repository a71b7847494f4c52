//! The parameters of `logs_fetch` and `metrics_collect`: what is let through, and to what it leads.

use serde_json::{Value, json};

use crate::support::{Agent, Container, Fake, LogLine, Session, Setup, assert_same_lines};

const INVALID_PARAMS: i64 = -32602;

fn registered() -> (Agent, Session, Fake) {
    let setup = Setup::new();
    let docker = setup.docker("exit 0");
    let (_peer, agent, session) = Agent::registered(setup);
    (agent, session, docker)
}

#[test]
fn logs_fetch_lets_no_wrong_params_reach_docker() {
    let (_agent, mut session, docker) = registered();
    let long = "a".repeat(129);
    let containers = [
        "",
        " ",
        "-f",
        "--help",
        "-",
        "a/b",
        "../a",
        ".a",
        "_a",
        "a b",
        " a",
        "a ",
        "a\n",
        "a\0",
        "a;b",
        "$(a)",
        "a,b",
        "a:b",
        "é",
        "aé",
        "a\u{200b}",
        &long,
    ];
    let wrong_containers = containers.iter().map(|name| json!({"container": name}));
    let wrong_lines =
        [json!(0), json!(-1), json!(1.5), json!("5"), json!([5]), json!(true), json!(-5001)];
    let wrong_lines = wrong_lines.iter().map(|lines| json!({"container": "web", "lines": lines}));
    let others = [
        json!({}),
        json!({"lines": 5}),
        json!({"container": 5}),
        json!({"container": null}),
        json!({"container": ["web"]}),
        json!({"container": "web", "stream": "yes"}),
        json!({"container": "web", "stream": 1}),
        json!(["web", 5]),
        json!("web"),
        json!(5),
        Value::Null,
    ];
    for params in wrong_containers.chain(wrong_lines).chain(others) {
        let response = session.broken_request(1, "logs_fetch", params.clone());
        assert_eq!(response.code(), INVALID_PARAMS, "{params}: {response:?}");
        assert!(!response.message().contains('\n'), "{response:?}");
    }
    assert_eq!(
        session.exchange(r#"{"jsonrpc":"2.0","id":1,"method":"logs_fetch"}"#).code(),
        INVALID_PARAMS
    );

    // A request with good parameters. Once it is answered, no earlier process is about to start.
    assert_eq!(session.request(2, "logs_fetch", json!({"container": "web"})).code(), 0);
    assert_eq!(docker.calls().len(), 1, "{:?}", docker.calls());
}

#[test]
fn logs_fetch_hands_docker_what_was_asked() {
    let (_agent, mut session, docker) = registered();
    let long = "a".repeat(128);
    let cases = [
        (json!({"container": "web"}), "100", "web"),
        (json!({"container": "0b5c", "lines": 1}), "1", "0b5c"),
        (json!({"container": "a_b.c-D9", "lines": 5000}), "5000", "a_b.c-D9"),
        (json!({"container": "web", "lines": 5001}), "5000", "web"),
        (json!({"container": "web", "lines": 4_294_967_297_u64}), "5000", "web"),
        (json!({"container": "web", "lines": u64::MAX}), "5000", "web"),
        (json!({"container": long, "stream": false}), "100", &long),
        (json!({"container": "web", "stream": true}), "100", "web"),
    ];
    let count = cases.len();
    for (at, (params, lines, container)) in cases.into_iter().enumerate() {
        let response = session.request(1, "logs_fetch", params.clone());
        let streamed = json!({"lines": [], "streamed": 0});
        let expected = if params["stream"] == true { streamed } else { json!({"lines": []}) };
        assert_eq!(*response.result(), expected, "{params}");
        let call = &docker.calls()[at].arguments;
        let words: Vec<&str> = call.split(' ').collect();
        assert_eq!(words[0], "logs", "{call}");
        assert!(words.contains(&"--timestamps"), "{call}");
        assert!(call.contains(&format!("--tail {lines}")), "{params}: {call}");
        assert!(!call.contains("--since"), "{params}: {call}");
        assert_eq!(words.last(), Some(&container), "{call}");
    }
    let params = json!({"container": "web", "lines": 7, "since": "2026-01-01T02:00:00.5+02:00"});
    assert_eq!(session.request(1, "logs_fetch", params).code(), 0);
    let call = &docker.calls()[count].arguments;
    assert_eq!(call, "logs --timestamps --tail 7 --since=2026-01-01T00:00:00.500000000Z web");
}

#[test]
fn since_is_a_time_and_no_other_argument() {
    let (_agent, mut session, docker) = registered();
    for since in ["10m", "1767225600", "--follow", "", "2026-01-01", "2026-02-30T00:00:00Z"] {
        let params = json!({"container": "web", "since": since});
        let response = session.broken_request(1, "logs_fetch", params);
        assert_eq!(response.code(), INVALID_PARAMS, "{since}: {response:?}");
        assert!(response.message().contains("since"), "{response:?}");
    }
    assert_eq!(docker.calls().len(), 0);
}

/// docker's own word for what is not older, with both of the container's outputs.
#[test]
fn since_leaves_out_what_is_older() {
    let script = "echo one; echo two >&2; sleep 0.1; echo three >&2; sleep 0.1; echo four";
    let container = Container::ended(&[], script);
    let all = container.logs(100);
    let froms: Vec<_> = all.iter().map(|line| line.from.as_deref()).collect();
    assert_eq!(froms.iter().filter(|from| **from == Some("stderr")).count(), 2, "{all:?}");
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for (at, line) in all.iter().enumerate() {
        let params = json!({"container": container.name, "since": line.ts});
        let response = session.request(1, "logs_fetch", params);
        assert_same_lines(&LogLine::all_of(response.result()), &all[at..]);
    }
    // Of these too, the last.
    let params = json!({"container": container.name, "since": all[1].ts, "lines": 2});
    let response = session.request(1, "logs_fetch", params);
    assert_same_lines(&LogLine::all_of(response.result()), &all[2..]);
}

#[test]
fn metrics_collect_needs_no_params_and_ignores_members() {
    let (_agent, mut session, docker) = registered();
    for params in ["[1]", "5", r#""x""#, "true", "[[]]"] {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"metrics_collect","params":{params}}}"#);
        let response = session.exchange(text);
        assert_eq!(response.code(), INVALID_PARAMS, "{params}: {response:?}");
    }
    assert_eq!(docker.calls().len(), 0);

    // All three share one sample, and one snapshot follows it.
    session.send_text(r#"{"jsonrpc":"2.0","id":1,"method":"metrics_collect"}"#);
    session.send_text(r#"{"jsonrpc":"2.0","id":2,"method":"metrics_collect","params":null}"#);
    session
        .send_text(r#"{"jsonrpc":"2.0","id":3,"method":"metrics_collect","params":{"newer":[1]}}"#);
    let results: Vec<Value> = (0..3).map(|_| session.next_message()["result"].take()).collect();
    assert!(
        results.iter().all(|result| result.is_object() && *result == results[0]),
        "{results:?}"
    );
    assert_eq!(session.next_notification("health_snapshot"), results[0]);
    session.assert_quiet();
    let samples = docker.calls().iter().filter(|call| call.arguments.starts_with("ps")).count();
    assert_eq!(samples, 1, "{:?}", docker.calls());
}
