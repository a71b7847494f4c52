//! Whether an agent is there: lost by a missed pong or a missed ping, back by its next register, and
//! one session for each name.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::support::{Agent, Client, Gateway, eventually};

async fn shown(client: &Client) -> Value {
    client.json("/api/instances/web-1").await
}

fn at(moment: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(moment.as_str().expect("it is a time"), &Rfc3339).unwrap()
}

/// Deaf from now on; how long until REST says so.
async fn lost_after(client: &Client, agent: &Agent) -> (Duration, Value) {
    agent.stop_reading();
    let started = Instant::now();
    let lost = eventually("its loss is noticed", async || {
        let shown = shown(client).await;
        (shown["agent_connected"] == false).then_some(shown)
    })
    .await;
    (started.elapsed(), lost)
}

#[tokio::test]
async fn a_missed_pong_raises_the_warning_and_a_register_clears_it() {
    let gateway = Gateway::start(&["--ping", "1", "--heartbeat", "0"]).await;
    let client = gateway.client();
    let mut events = client.stream("/api/events").await;
    let agent = Agent::start(&gateway, "web-1").await;
    assert_eq!(events.next().await.data["type"], "connected");
    // Several pings long nothing is missed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = shown(&client).await;
    assert_eq!([&before["agent_connected"], &before["warning"]], [&json!(true), &json!(null)]);

    let (took, lost) = lost_after(&client, &agent).await;
    // The ping that it misses is sent within 1 s, and its pong is due in 10 s.
    assert!((9..14).contains(&took.as_secs()), "{took:?}");
    let warning = &lost["warning"];
    assert!(warning["text"].as_str().unwrap().contains("no pong within 10 s"), "{lost}");
    assert_eq!(warning["since"], lost["since"]);
    let heard = at(&lost["last_seen"]);
    assert!((at(&warning["since"]) - heard).as_seconds_f64() < 13.0, "{lost}");
    let event = events.next().await.data;
    assert_eq!([&event["type"], &event["at"]], [&json!("lost"), &warning["since"]]);
    assert_eq!(client.json("/api/instances").await["instances"][0]["warning"], *warning);

    let _again = Agent::start(&gateway, "web-1").await;
    let back = shown(&client).await;
    assert_eq!([&back["agent_connected"], &back["warning"]], [&json!(true), &json!(null)]);
    let cleared = &back["last_warning"];
    assert_eq!([&cleared["since"], &cleared["text"]], [&warning["since"], &warning["text"]]);
    assert_eq!(cleared["cleared_at"], back["since"]);
    let event = events.next().await.data;
    assert_eq!([&event["type"], &event["at"]], [&json!("connected"), &back["since"]]);
}

#[tokio::test]
async fn an_agent_that_does_not_ping_is_lost() {
    let gateway = Gateway::start(&["--ping", "0", "--heartbeat", "3"]).await;
    let client = gateway.client();
    let agent = Agent::start(&gateway, "web-1").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(shown(&client).await["agent_connected"], true, "it pings every second");
    let (took, lost) = lost_after(&client, &agent).await;
    assert!((2..6).contains(&took.as_secs()), "{took:?}");
    assert!(lost["warning"]["text"].as_str().unwrap().contains("no frame"), "{lost}");
}

#[tokio::test]
async fn an_agent_that_goes_away_is_lost_at_once() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut events = client.stream("/api/events").await;
    let agent = Agent::start(&gateway, "web-1").await;
    events.next().await;
    drop(agent);
    let gone = Instant::now();
    assert_eq!(events.next().await.data["type"], "lost");
    assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
    assert_eq!(shown(&client).await["agent_connected"], false);
}

#[tokio::test]
async fn the_end_of_a_connection_is_no_sign_of_life() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let agent = Agent::start(&gateway, "web-1").await;
    agent.stop_reading();
    // One more ping may be on its way.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let silent = shown(&client).await;
    agent.vanish(&gateway).await;
    let lost = shown(&client).await;
    assert_eq!(lost["last_seen"], silent["last_seen"]);
    assert!((at(&lost["since"]) - at(&lost["last_seen"])).as_seconds_f64() > 1.0, "{lost}");
}

/// The older session of two is closed; the instance was there all the time, so nothing was lost.
#[tokio::test]
async fn of_two_sessions_with_one_name_the_newer_stays() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let mut older = Agent::start(&gateway, "web-1").await;
    let newer = Agent::start(&gateway, "web-1").await;
    assert_eq!(older.closed().await, Some(4409));
    newer.snapshot(42.0);
    let shown = eventually("the newer is heard", async || {
        let shown = shown(&client).await;
        (shown["metrics"]["cpu_pct"] == 42.0).then_some(shown)
    })
    .await;
    assert_eq!([&shown["agent_connected"], &shown["registers"]], [&json!(true), &json!(2)]);
    assert_eq!([&shown["warning"], &shown["last_warning"]], [&json!(null), &json!(null)]);
    let told = eventually("both are told", async || {
        let events = client.json("/api/instances/web-1/events?after=0").await;
        let events = events["events"].as_array().unwrap().iter();
        let told: Vec<_> = events.map(|e| (e["type"].clone(), e["replaced"].clone())).collect();
        (told.len() > 1).then_some(told)
    })
    .await;
    let connected = |replaced: bool| (json!("connected"), json!(replaced));
    assert_eq!(told, [connected(false), connected(true)]);
}

#[tokio::test]
async fn who_never_registers_is_left() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::connect(&gateway, &gateway.token).await.unwrap();
    let started = Instant::now();
    agent.closed().await;
    assert!((9..14).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}
