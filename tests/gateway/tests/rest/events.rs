//! What has happened, in pages and live.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Stream;
use crate::support::{Agent, Client, Gateway, eventually};

/// Ids and types, oldest first.
async fn listed(client: &Client, path: &str, count: usize) -> Vec<(i64, String)> {
    let all = async || {
        let page = client.json(path).await;
        let events: Vec<_> = page["events"].as_array().unwrap().iter().map(named).collect();
        (events.len() >= count).then_some(events)
    };
    eventually("the events", all).await
}

fn named(event: &Value) -> (i64, String) {
    let instance = event["instance"].as_str().map_or(String::new(), |id| format!("{id} "));
    (event["id"].as_i64().unwrap(), format!("{instance}{}", event["type"].as_str().unwrap()))
}

async fn streamed(stream: &mut Stream) -> (i64, String) {
    let message = stream.next().await;
    assert_eq!(message.id, message.data["id"].as_i64());
    named(&message.data)
}

#[tokio::test]
async fn they_come_in_pages_from_both_ends() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let agent = Agent::start(&gateway, "a").await;
    let _other = Agent::start(&gateway, "b").await;
    agent.vanish(&gateway).await;
    let all = listed(&client, "/api/events?after=0", 4).await;
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["gateway_started", "a connected", "b connected", "a lost"]);
    let ids: Vec<i64> = all.iter().map(|(id, _)| *id).collect();
    assert!(ids.is_sorted() && ids[0] >= 1, "{ids:?}");

    let page = async |query: &str| -> Vec<i64> {
        let events = listed(&client, &format!("/api/events?{query}"), 0).await;
        events.into_iter().map(|(id, _)| id).collect()
    };
    let [first, second, third, last] = ids[..] else { panic!("{ids:?}") };
    assert_eq!(page("").await, [last, third, second, first]);
    assert_eq!(page("limit=1").await, [last]);
    assert_eq!(page(&format!("before={third}&limit=1")).await, [second]);
    assert_eq!(page(&format!("after={first}&limit=2")).await, [second, third]);
    assert_eq!(page(&format!("after={first}&before={last}")).await, [second, third]);
    assert_eq!(page(&format!("after={last}")).await, [] as [i64; 0]);

    let of_a = listed(&client, "/api/instances/a/events", 2).await;
    let names: Vec<&str> = of_a.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a lost", "a connected"]);
    client.get("/api/instances/c/events").await.problem(404, "no-such-instance");
    for query in ["after=-1", "before=-1", "limit=0", "limit=1001", "after=x", "after=", "x=1"] {
        let path = format!("/api/events?{query}");
        client.get(&path).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn live_they_come_as_they_happen() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _first = Agent::start(&gateway, "a").await;
    let before = listed(&client, "/api/events?after=0", 2).await;

    let mut all = client.stream("/api/events").await;
    let mut of_a = client.stream("/api/instances/a/events").await;
    let mut from_start = client.stream("/api/events?after=0").await;
    for event in &before {
        assert_eq!(&streamed(&mut from_start).await, event);
    }
    let other = Agent::start(&gateway, "b").await;
    other.vanish(&gateway).await;
    for stream in [&mut all, &mut from_start] {
        assert_eq!(streamed(stream).await.1, "b connected");
        assert_eq!(streamed(stream).await.1, "b lost");
    }
    assert!(of_a.is_silent_for(Duration::from_millis(300)).await, "those are not of a");
    let _second = Agent::start(&gateway, "a").await;
    assert_eq!(streamed(&mut of_a).await.1, "a connected");
}

/// A browser says which event it has seen last: that outranks the address, and nothing is told twice.
#[tokio::test]
async fn a_stream_that_was_cut_off_goes_on_where_it_was() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _a = Agent::start(&gateway, "a").await;
    let mut stream = client.stream("/api/events?after=0").await;
    streamed(&mut stream).await;
    let (last, _) = streamed(&mut stream).await;
    drop(stream);
    let _b = Agent::start(&gateway, "b").await;
    let gateway = gateway.restart().await;
    let client = gateway.client();
    let _c = Agent::start(&gateway, "c").await;
    let mut stream = client.stream_from("/api/events?after=0", Some(last)).await;
    let mut seen = last;
    for name in ["b connected", "gateway ends", "gateway_started", "c connected"] {
        let (id, found) = streamed(&mut stream).await;
        assert!(id > seen);
        seen = id;
        // The sessions end with the gateway: two losses, in either order.
        if name == "gateway ends" {
            let (id, other) = streamed(&mut stream).await;
            seen = id;
            let mut both = [found, other];
            both.sort();
            assert_eq!(both, ["a lost", "b lost"]);
        } else {
            assert_eq!(found, name);
        }
    }
}

/// As a browser has it that was connected to an earlier gateway, which kept nothing.
#[tokio::test]
async fn an_id_that_is_still_to_come_is_no_reason_to_be_silent() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut stream = client.stream_from("/api/events", Some(1_000_000)).await;
    let _a = Agent::start(&gateway, "a").await;
    assert_eq!(streamed(&mut stream).await.1, "a connected");
}

#[tokio::test]
async fn a_stream_ends_with_the_gateway() {
    let mut gateway = Gateway::start(&[]).await;
    let mut stream = gateway.client().stream("/api/events").await;
    gateway.end();
    stream.ends().await;
}
