//! `POST /api/instances/{id}/upgrade`, and what becomes of an upgrade.

use serde_json::{Value, json};

use crate::support::agent::{Request, register, snapshot};
use crate::support::{Agent, Client, Gateway, eventually};

const PATH: &str = "/api/instances/web-1/upgrade";
/// Requests without an answer that one session may have.
const UNANSWERED: usize = 256;

fn order() -> Value {
    json!({"version": "1.1.0", "download_url": "https://releases.example/agent",
           "checksum_sha256": "1".repeat(64)})
}

fn rolled_back(version: &str, checksum: &str) -> Value {
    json!({"version": version, "checksum_sha256": checksum.repeat(64), "reason": "it never started",
           "cause": "never_started", "banned": true, "at": "2026-01-01T00:03:00Z"})
}

/// Asked for by REST; what the agent got.
async fn ask(gateway: &Gateway, agent: &mut Agent) -> Request {
    let answer = gateway.client().post(PATH, &order()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.json()["stage"], "asked");
    agent.asked("agent_upgrade").await
}

async fn reaches(client: &Client, stage: &str) -> Value {
    let reached = async || {
        let upgrade = client.json("/api/instances/web-1").await["upgrade"].clone();
        (upgrade["stage"] == stage).then_some(upgrade)
    };
    eventually(stage, reached).await
}

/// The types of what has happened to web-1, once so many have.
async fn happened(client: &Client, count: usize) -> Vec<Value> {
    let all = async || {
        let events = client.json("/api/instances/web-1/events?after=0").await;
        let events = events["events"].as_array().unwrap().clone();
        (events.len() >= count).then_some(events)
    };
    eventually("the events", all).await
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_is_confirmed_by_the_register_of_the_new_version() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let request = ask(&gateway, &mut agent).await;
    assert_eq!(request.params, order());
    let progress = json!({"id": request.id, "stage": "download", "bytes": 1024, "total": 2048});
    agent.notify("upgrade_progress", progress);
    let upgrade = reaches(&client, "downloading").await;
    assert_eq!([&upgrade["bytes"], &upgrade["total"]], [&json!(1024), &json!(2048)]);
    client.post(PATH, &order()).await.problem(409, "upgrade-going-on");
    agent.answer(&request, json!({"status": "upgrading"}));
    reaches(&client, "restarting").await;
    client.post(PATH, &order()).await.problem(409, "upgrade-going-on");
    agent.vanish(&gateway).await;

    let mut new = register("web-1");
    new["version"] = json!("1.1.0");
    let _agent = Agent::start_as(&gateway, new).await;
    let upgrade = reaches(&client, "confirmed").await;
    assert_eq!(upgrade["requested_by"], "test read,logs,operate");
    let events = happened(&client, 5).await;
    let expected = ["connected", "upgrade_requested", "lost", "connected", "upgrade_confirmed"];
    assert_eq!(types(&events), expected);
    assert_eq!(events[1]["by"], "test read,logs,operate");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_cause() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let request = ask(&gateway, &mut agent).await;
    agent.refuse(&request, -32011, "checksum mismatch");
    let upgrade = reaches(&client, "failed").await;
    assert_eq!(
        [&upgrade["code"], &upgrade["message"]],
        [&json!(-32011), &json!("checksum mismatch")]
    );
    let events = happened(&client, 3).await;
    assert_eq!(types(&events), ["connected", "upgrade_requested", "upgrade_failed"]);
    assert_eq!(events[2]["message"], "checksum mismatch");
    ask(&gateway, &mut agent).await;
}

/// The agent owes so many answers that it gets no more requests.
#[tokio::test]
async fn an_order_that_is_not_sent_has_failed_at_once() {
    let mut gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let mut owed = Vec::new();
    for _ in 0..UNANSWERED {
        gateway.give("metrics web-1");
        owed.push(agent.asked("metrics_collect").await);
    }
    let answer = client.post(PATH, &order()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let upgrade = reaches(&client, "failed").await;
    assert_eq!(upgrade["code"], json!(null));
    assert!(upgrade["message"].as_str().unwrap().contains("not sent"), "{upgrade}");
    let events = happened(&client, 3).await;
    assert_eq!(types(&events), ["connected", "upgrade_requested", "upgrade_failed"]);

    agent.answer(&owed[0], snapshot(1.0));
    gateway.logged(&["\"answer\""]).await;
    ask(&gateway, &mut agent).await;
}

/// `register` tells the state, so a roll-back is seen whatever was lost before; the notification after
/// it tells nothing new.
#[tokio::test]
async fn a_roll_back_is_told_by_register_and_only_once() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut agent = Agent::start(&gateway, "web-1").await;
    let request = ask(&gateway, &mut agent).await;
    agent.answer(&request, json!({"status": "upgrading"}));
    agent.vanish(&gateway).await;

    let mut old = register("web-1");
    // The first was asked for by somebody else, while this gateway was away.
    old["upgrade"]["rolled_back"] = json!([rolled_back("0.9.0", "2"), rolled_back("1.1.0", "1")]);
    let agent = Agent::start_as(&gateway, old.clone()).await;
    let mut again = rolled_back("1.1.0", "1");
    again.as_object_mut().unwrap().remove("at");
    agent.notify("upgrade_rolled_back", again);
    let upgrade = reaches(&client, "rolled_back").await;
    let cause = [&upgrade["cause"], &upgrade["reason"]];
    assert_eq!(cause, [&json!("never_started"), &json!("it never started")]);
    drop(agent);
    // Told anew at each register.
    let _agent = Agent::start_as(&gateway, old).await;
    let events = happened(&client, 8).await;
    let expected = [
        "connected",
        "upgrade_requested",
        "lost",
        "connected",
        "rolled_back",
        "rolled_back",
        "lost",
        "connected",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!([&events[4]["version"], &events[5]["version"]], ["0.9.0", "1.1.0"]);
    assert_eq!(events[5]["cause"], "never_started");
}

#[tokio::test]
async fn another_version_without_an_upgrade_is_an_event() {
    let gateway = Gateway::start(&[]).await;
    Agent::start(&gateway, "web-1").await.vanish(&gateway).await;
    let mut new = register("web-1");
    new["version"] = json!("2.0.0");
    let _agent = Agent::start_as(&gateway, new).await;
    let events = happened(&gateway.client(), 4).await;
    assert_eq!(types(&events)[3], "version_changed");
    assert_eq!([&events[3]["from"], &events[3]["to"]], ["1.0.0", "2.0.0"]);
}

#[tokio::test]
async fn an_upgrade_outlives_the_gateway_but_not_its_time() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let request = ask(&gateway, &mut agent).await;
    agent.answer(&request, json!({"status": "upgrading"}));
    reaches(&gateway.client(), "restarting").await;
    let mut gateway = gateway.restart().await;
    let upgrade = reaches(&gateway.client(), "restarting").await;
    assert_eq!(upgrade["version"], "1.1.0");

    // Its time is 15 minutes: in the database it was asked for an hour ago.
    gateway.end();
    let database = rusqlite::Connection::open(gateway.folder().data().join("gateway.db")).unwrap();
    let earlier = "UPDATE instances SET record = json_set(record, '$.upgrade.requested_at', ?1)";
    assert_eq!(database.execute(earlier, ["2026-01-01T00:00:00Z"]).unwrap(), 1);
    drop(database);
    let gateway = gateway.restart().await;
    let client = gateway.client();
    let upgrade = reaches(&client, "failed").await;
    assert!(upgrade["message"].as_str().unwrap().contains("15 min"), "{upgrade}");
    let events = happened(&client, 4).await;
    assert_eq!(types(&events).last(), Some(&"upgrade_failed"));
}

#[tokio::test]
async fn what_an_agent_would_refuse_does_not_reach_it() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _agent = Agent::start(&gateway, "web-1").await;
    for (member, value) in [
        ("version", json!("")),
        ("version", json!("1 2")),
        ("version", json!(1)),
        ("download_url", json!("http://192.0.2.1/agent")),
        ("download_url", json!(format!("https://a/{}", "a".repeat(8192)))),
        ("checksum_sha256", json!("1")),
        ("unknown", json!(1)),
    ] {
        let mut wrong = order();
        wrong[member] = value;
        let answer = client.post(PATH, &wrong).await;
        assert!([400, 422].contains(&answer.status), "{wrong}: {}", answer.body);
        answer.problem(answer.status, "invalid-request");
    }
    let mut missing = order();
    missing.as_object_mut().unwrap().remove("version");
    client.post(PATH, &missing).await.problem(422, "invalid-request");
    client.post("/api/instances/web-2/upgrade", &order()).await.problem(404, "no-such-instance");
    assert_eq!(client.json("/api/instances/web-1").await["upgrade"], json!(null));
}

#[tokio::test]
async fn an_agent_that_is_away_can_not_be_upgraded() {
    let gateway = Gateway::start(&[]).await;
    Agent::start(&gateway, "web-1").await.vanish(&gateway).await;
    gateway.client().post(PATH, &order()).await.problem(409, "agent-not-connected");
}
