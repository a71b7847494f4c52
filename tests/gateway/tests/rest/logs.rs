//! A container's logs through REST, once and live, by instance and by deploy.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{Request, register};
use crate::support::client::Stream;
use crate::support::{Agent, Answer, Gateway};

const PATH: &str = "/api/instances/web-1/logs?container=web";

fn lines() -> Value {
    json!([
        {"ts": "2026-01-01T00:01:00.000000001Z", "text": "hello"},
        {"ts": "2026-01-01T00:01:01.000000001Z", "text": "oops", "from": "stderr"},
    ])
}

/// What the agent was asked, and the answer to the client.
async fn once(
    gateway: &Gateway,
    agent: &mut Agent,
    path: &str,
    result: Result<Value, (i64, &str)>,
) -> (Request, Answer) {
    let client = gateway.client();
    let serve = async {
        let request = agent.asked("logs_fetch").await;
        match result {
            Ok(result) => agent.answer(&request, result),
            Err((code, message)) => agent.refuse(&request, code, message),
        }
        request
    };
    tokio::join!(serve, client.get(path))
}

#[tokio::test]
async fn the_last_lines_come_as_the_agent_has_them() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let result = json!({"lines": lines(), "truncated": true});
    let (asked, answer) =
        once(&gateway, &mut agent, &format!("{PATH}&lines=2"), Ok(result.clone())).await;
    assert_eq!(asked.params, json!({"container": "web", "lines": 2}));
    assert_eq!((answer.status, answer.json()), (200, result));

    let (asked, answer) = once(&gateway, &mut agent, PATH, Ok(json!({"lines": []}))).await;
    assert_eq!(asked.params, json!({"container": "web", "lines": 100}));
    assert_eq!(answer.json(), json!({"lines": [], "truncated": false}));
}

#[tokio::test]
async fn since_is_the_agents_work_or_else_the_gateways() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let path = format!("{PATH}&since=2026-01-01T01:01:01%2B01:00");
    let (asked, answer) = once(&gateway, &mut agent, &path, Ok(json!({"lines": []}))).await;
    assert_eq!(asked.params["since"], "2026-01-01T01:01:01+01:00");
    assert_eq!(answer.status, 200);

    let mut older = register("web-1");
    older["capabilities"] = json!([]);
    let mut agent = Agent::start_as(&gateway, older).await;
    let (asked, answer) = once(&gateway, &mut agent, &path, Ok(json!({"lines": lines()}))).await;
    assert_eq!(asked.params.get("since"), None, "it would not know it");
    let kept = answer.json();
    assert_eq!(kept["lines"], json!([lines()[1]]), "the older line is left out");
}

#[tokio::test]
async fn errors_of_the_agent_are_problems() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    for (code, status, name) in [
        (-32001, 404, "no-such-container"),
        (-32002, 502, "agent-error"),
        (-32003, 504, "agent-too-slow"),
        (-32004, 503, "busy"),
        (-32602, 400, "agent-refuses-request"),
        (-32603, 502, "agent-error"),
    ] {
        let (_, answer) = once(&gateway, &mut agent, PATH, Err((code, "it says so"))).await;
        let detail = answer.problem(status, name);
        assert!(detail.ends_with("it says so"), "{detail}");
        assert_eq!(answer.json()["agent_code"], code);
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{code}");
    }

    let client = gateway.client();
    let nonsense = async {
        let request = agent.asked("logs_fetch").await;
        agent.send_broken(&format!(
            "{}\n",
            json!({"jsonrpc": "2.0", "id": request.id,
                                                  "result": {"lines": 7}})
        ));
    };
    tokio::join!(nonsense, client.get(PATH)).1.problem(502, "agent-failed");

    client.get("/api/instances/web-2/logs?container=web").await.problem(404, "no-such-instance");
    let leave = async {
        agent.asked("logs_fetch").await;
        agent.vanish(&gateway).await;
    };
    tokio::join!(leave, client.get(PATH)).1.problem(502, "agent-failed");
    client.get(PATH).await.problem(409, "agent-not-connected");
    client.get(&format!("{PATH}&follow=1")).await.problem(409, "agent-not-connected");
}

#[tokio::test]
async fn what_makes_no_sense_does_not_reach_the_agent() {
    let gateway = Gateway::start(&[]).await;
    let _agent = Agent::start(&gateway, "web-1").await;
    let long = "a".repeat(129);
    for query in [
        "",
        "container=",
        "container=web&container=db",
        "container=-web",
        "container=a%20b",
        "container=a%0Ab",
        &format!("container={long}"),
        "container=web&lines=0",
        "container=web&lines=5001",
        "container=web&lines=x",
        "container=web&since=yesterday",
        "container=web&follow=2",
        "container=web&unknown=1",
    ] {
        let path = format!("/api/instances/web-1/logs?{query}");
        gateway.client().get(&path).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn live_lines_come_as_they_are_written() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    // Both ways to ask for it.
    for by_parameter in [true, false] {
        let open = async {
            match by_parameter {
                true => {
                    let path = format!("{PATH}&lines=1&follow=1");
                    Stream::of(client.request(reqwest::Method::GET, &path)).await
                }
                false => client.stream(&format!("{PATH}&lines=1")).await,
            }
        };
        let (request, mut stream) = tokio::join!(agent.asked("logs_fetch"), open);
        let expected = json!({"container": "web", "lines": 1, "follow": true});
        assert_eq!(request.params, expected);
        for seq in 0..3 {
            let mut chunk = json!({"id": request.id, "seq": seq, "lines": lines()});
            if seq == 2 {
                chunk["dropped"] = json!(7);
            }
            agent.notify("logs_chunk", chunk);
            let message = stream.next().await;
            let dropped = if seq == 2 { 7 } else { 0 };
            assert_eq!(message.event, "lines");
            assert_eq!(message.data, json!({"lines": lines(), "dropped": dropped}));
        }
        agent.answer(&request, json!({"lines": [], "streamed": 6, "ended": "container"}));
        let message = stream.next().await;
        assert_eq!((message.event.as_str(), message.data), ("end", json!({"ended": "container"})));
        stream.ends().await;
    }
    // `follow=0` is an answer, whatever else is accepted.
    let asked = async {
        let request = agent.asked("logs_fetch").await;
        agent.answer(&request, json!({"lines": []}));
    };
    let request = client.request(reqwest::Method::GET, &format!("{PATH}&follow=0"));
    let answer = Answer::of(request.header("accept", "text/event-stream, application/json"));
    assert_eq!(tokio::join!(asked, answer).1.json()["lines"], json!([]));
}

#[tokio::test]
async fn a_follower_who_leaves_ends_the_agents_work() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let path = format!("{PATH}&follow=1");
    let (request, stream) = tokio::join!(agent.asked("logs_fetch"), client.stream(&path));
    drop(stream);
    let cancel = agent.asked("logs_cancel").await;
    assert_eq!(cancel.params, json!({"id": request.id}));
    agent.answer(&cancel, json!({"cancelled": true}));
    agent.answer(&request, json!({"lines": [], "streamed": 0, "ended": "cancelled"}));
}

#[tokio::test]
async fn a_follower_is_told_why_it_ends() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let path = format!("{PATH}&follow=1");
    // Refused at once: a problem.
    let refuse = async {
        let request = agent.asked("logs_fetch").await;
        agent.refuse(&request, -32001, "no such container");
    };
    tokio::join!(refuse, client.get(&path)).1.problem(404, "no-such-container");
    // Refused later: an event.
    let (request, mut stream) = tokio::join!(agent.asked("logs_fetch"), client.stream(&path));
    tokio::time::sleep(Duration::from_secs(1)).await;
    agent.refuse(&request, -32002, "docker is down");
    let end = json!({"ended": "error", "agent_code": -32002, "detail": "docker is down"});
    assert_eq!(stream.next().await.data, end);
    // The agent is lost.
    let (_, mut stream) = tokio::join!(agent.asked("logs_fetch"), client.stream(&path));
    agent.vanish(&gateway).await;
    assert_eq!(stream.next().await.data["ended"], "session");
    stream.ends().await;

    let mut older = register("web-1");
    older["capabilities"] = json!([]);
    let _agent = Agent::start_as(&gateway, older).await;
    let detail = client.get(&path).await.problem(501, "agent-too-old");
    assert!(detail.contains("logs_follow"), "{detail}");
}

fn with_labels(id: &str, labels: Value) -> Value {
    let mut said = register(id);
    said["labels"] = labels;
    said
}

#[tokio::test]
async fn a_deploy_is_found_by_the_labels_of_its_instance() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    client.get("/api/deploys/shop/logs").await.problem(404, "no-such-deploy");
    let said = with_labels("vm-1", json!({"vmkit.deploy": "shop", "vmkit.container": "web"}));
    let mut shop = Agent::start_as(&gateway, said).await;
    let mut blog =
        Agent::start_as(&gateway, with_labels("vm-2", json!({"vmkit.deploy": "blog"}))).await;

    let result = Ok(json!({"lines": lines()}));
    let path = "/api/deploys/shop/logs?lines=5";
    let (asked, answer) = once(&gateway, &mut shop, path, result.clone()).await;
    assert_eq!(asked.params, json!({"container": "web", "lines": 5}));
    assert_eq!(answer.json()["lines"], lines());
    let (asked, _) = once(&gateway, &mut blog, "/api/deploys/blog/logs", result).await;
    assert_eq!(asked.params["container"], "blog", "the deploy's own id");

    let path = "/api/deploys/shop/logs?follow=1";
    let (request, mut stream) = tokio::join!(shop.asked("logs_fetch"), client.stream(path));
    shop.notify("logs_chunk", json!({"id": request.id, "seq": 0, "lines": lines()}));
    assert_eq!(stream.next().await.data["lines"], lines());

    let _other =
        Agent::start_as(&gateway, with_labels("vm-3", json!({"vmkit.deploy": "shop"}))).await;
    client.get("/api/deploys/shop/logs").await.problem(409, "ambiguous-deploy");
}

#[tokio::test]
async fn a_deploy_is_found_also_after_its_machine_was_replaced() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let labels = || json!({"vmkit.deploy": "shop"});
    Agent::start_as(&gateway, with_labels("vm-1", labels())).await.vanish(&gateway).await;
    let path = "/api/deploys/shop/logs";
    client.get(path).await.problem(409, "agent-not-connected");
    let mut new = Agent::start_as(&gateway, with_labels("vm-2", labels())).await;
    let (_, answer) = once(&gateway, &mut new, path, Ok(json!({"lines": lines()}))).await;
    assert_eq!((answer.status, &answer.json()["lines"]), (200, &lines()));
    new.vanish(&gateway).await;
    client.get(path).await.problem(409, "agent-not-connected");
}
