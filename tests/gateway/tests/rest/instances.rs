//! `GET /health`, `GET /api/instances` and `GET /api/instances/{id}`.

use serde_json::json;

use crate::support::agent::{register, snapshot};
use crate::support::{Agent, Client, Gateway, eventually};

#[tokio::test]
async fn health_is_told_to_everybody() {
    let gateway = Gateway::start(&[]).await;
    let answer = Client::new(&gateway.api, None).get("/health").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn an_instance_is_shown_with_all_that_its_agent_said() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    client.get("/api/instances/web-1").await.problem(404, "no-such-instance");
    let agent = Agent::start(&gateway, "web-1").await;

    let shown = client.json("/api/instances/web-1").await;
    let said = register("web-1");
    for member in ["ip", "os", "arch", "labels", "host", "build", "boot_id", "protocol"] {
        assert_eq!(shown[member], said[member], "{member}");
    }
    assert_eq!(shown["id"], "web-1");
    assert_eq!(shown["agent_version"], "1.0.0");
    assert_eq!(shown["agent_connected"], true);
    assert_eq!(shown["registers"], 1);
    assert_eq!(shown["capabilities"], said["capabilities"]);
    assert_eq!([&shown["metrics"], &shown["metrics_age_secs"]], [&json!(null), &json!(null)]);
    assert_eq!([&shown["warning"], &shown["upgrade"]], [&json!(null), &json!(null)]);

    agent.snapshot(12.5);
    let shown = eventually("the snapshot is shown", async || {
        let shown = client.json("/api/instances/web-1").await;
        (!shown["metrics"].is_null()).then_some(shown)
    })
    .await;
    assert_eq!(shown["metrics"], snapshot(12.5));
    assert!(shown["metrics_age_secs"].as_u64().unwrap() <= 5, "{shown}");
    assert!(shown["last_seen"].as_str().unwrap() >= shown["first_seen"].as_str().unwrap());

    agent.vanish(&gateway).await;
    let shown = client.json("/api/instances/web-1").await;
    assert_eq!(shown["metrics"], snapshot(12.5), "the latest is kept");
    assert!(shown["warning"]["text"].as_str().unwrap().starts_with("agent lost: "), "{shown}");
}

#[tokio::test]
async fn a_poll_brings_a_snapshot_at_once() {
    let gateway = Gateway::start(&["--poll", "60"]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let request = agent.asked("metrics_collect").await;
    agent.snapshot(7.0);
    agent.answer(&request, snapshot(7.0));
    eventually("the snapshot is shown", async || {
        let shown = gateway.client().json("/api/instances/web-1").await;
        (shown["metrics"]["cpu_pct"] == 7.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_older_agent_says_less_and_a_newer_one_more() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let least = json!({"version": "0.1.0", "instance_id": "old", "ip": "::1", "os": "linux",
                       "arch": "arm64"});
    let _old = Agent::start_as(&gateway, least).await;
    let shown = client.json("/api/instances/old").await;
    assert_eq!([&shown["host"], &shown["protocol"]], [&json!(null), &json!(null)]);
    assert_eq!([&shown["labels"], &shown["capabilities"]], [&json!({}), &json!([])]);

    let mut more = register("new");
    more["of_tomorrow"] = json!({"a": [1]});
    let _new = Agent::start_as(&gateway, more).await;
    assert_eq!(client.json("/api/instances/new").await["agent_connected"], true);
}

#[tokio::test]
async fn the_list_comes_in_pages_and_can_be_filtered() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    assert_eq!(client.json("/api/instances").await, json!({"instances": [], "next": null}));
    let mut agents = Vec::new();
    for (id, labels) in [
        ("a", json!({"env": "prod", "role": "db"})),
        ("b", json!({"env": "prod"})),
        ("c", json!({"env": "test", "url": "a=b&c"})),
    ] {
        let mut said = register(id);
        said["labels"] = labels;
        agents.push(Agent::start_as(&gateway, said).await);
    }
    agents[0].snapshot(50.0);
    eventually("the snapshot is there", async || {
        let shown = client.json("/api/instances/a").await;
        (!shown["metrics"].is_null()).then_some(())
    })
    .await;

    for (query, expected, next) in [
        ("", vec!["a", "b", "c"], None),
        ("?limit=2", vec!["a", "b"], Some("b")),
        ("?limit=2&after=b", vec!["c"], None),
        ("?limit=3", vec!["a", "b", "c"], None),
        ("?label=env%3Dprod", vec!["a", "b"], None),
        ("?label=env%3Dprod&limit=1", vec!["a"], Some("a")),
        ("?label=env%3Dprod&limit=1&after=a", vec!["b"], None),
        ("?label=env%3Dprod&label=role%3Ddb", vec!["a"], None),
        ("?label=url%3Da%3Db%26c", vec!["c"], None),
        ("?label=role%3D", vec![], None),
    ] {
        let page = client.json(&format!("/api/instances{query}")).await;
        let instances = page["instances"].as_array().unwrap();
        let ids: Vec<_> = instances.iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
        assert_eq!(page["next"], json!(next), "{query}");
    }
    let list = client.json("/api/instances").await;
    let numbers = json!({"cpu_pct": 50.0, "mem_pct": 41.5, "disk_pct": 63.2,
                         "container_count": 1.0});
    assert_eq!(list["instances"][0]["metrics"], numbers);
    assert_eq!(list["instances"][1]["metrics"], json!(null));
    assert_eq!(list["instances"][1]["agent_connected"], true);
}

/// A name may hold any character but control characters: it must arrive as it is.
#[tokio::test]
async fn any_name_can_be_asked_for() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("Zürich", "Z%C3%BCrich"),
        ("%41", "%2541"),
        ("' OR 1=1; --", "'%20OR%201%3D1%3B%20--"),
    ] {
        let _agent = Agent::start_as(&gateway, register(id)).await;
        if id == ".." {
            // Clients take it for the folder above, however it is written.
            continue;
        }
        for rest in ["", "/history", "/events"] {
            let shown = client.json(&format!("/api/instances/{path}{rest}")).await;
            assert!(!rest.is_empty() || shown["id"] == id, "{shown}");
        }
    }
}

#[tokio::test]
async fn what_no_agent_should_say_is_refused() {
    let gateway = Gateway::start(&[]).await;
    let agent = Agent::start(&gateway, "web-1").await;
    let wrong = json!({"jsonrpc": "2.0", "method": "health_snapshot", "params": {"cpu_pct": 101}});
    agent.send_broken(&format!("{wrong}\n"));
    agent.send_broken("no JSON\n");
    agent.send_broken("{\"jsonrpc\": \"2.0\"}\n");
    for _ in 0..3 {
        gateway.logged(&["violation", "web-1"]).await;
    }
    let shown = gateway.client().json("/api/instances/web-1").await;
    assert_eq!([&shown["metrics"], &shown["agent_connected"]], [&json!(null), &json!(true)]);
}
