//! The live stream: what comes by it, that it resumes, that it is bounded, and that it ends with its
//! session.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use crate::support::{Gateway, PATIENCE, data, eventually, register, scratch};

struct Stream {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
    name: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Stream {
    async fn open(gateway: &Gateway, cookie: &str, last: Option<&str>) -> Stream {
        let request = gateway.get_as("/page/stream", "text/event-stream");
        let mut request = request.header("cookie", cookie);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("content-encoding"));
        let bytes = answer.bytes_stream().map(|bytes| bytes.map(|bytes| bytes.to_vec())).boxed();
        let mut stream = Stream { bytes, text: String::new(), name: String::new() };
        let hello = stream.next().await.expect("it begins");
        assert_eq!(hello.name, "hello");
        stream.name = hello.data["stream"].as_str().expect("it has a name").to_owned();
        stream
    }

    /// `None`: it has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let mut values = event.lines().filter_map(|line| line.strip_prefix(name));
                    values.next().map(|value| value.trim().to_owned())
                };
                let (name, id, data) = (line("event:"), line("id:"), line("data:"));
                self.text = rest.to_owned();
                if let Some(data) = data {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Event { name: name.unwrap_or_default(), id, data });
                }
                continue;
            }
            let bytes =
                tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("something comes");
            self.text += std::str::from_utf8(&bytes?.ok()?).unwrap();
        }
    }

    async fn until(&mut self, is: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if is(&event) {
                return event;
            }
        }
    }

    async fn change(&self, gateway: &Gateway, cookie: &str, body: Value) -> u16 {
        let request = gateway.post_json(&format!("/page/stream/{}/topics", self.name));
        let request = request.header("cookie", cookie);
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    }
}

fn is(name: &'static str, topic: &'static str) -> impl Fn(&Event) -> bool {
    move |event| event.name == name && event.data["topic"] == topic
}

#[tokio::test]
async fn the_warning_comes_and_goes_and_events_are_resumed() {
    let gateway = Gateway::start();
    let cookie = gateway.sign_in(&gateway.keys.api("read")).await;
    let mut stream = Stream::open(&gateway, &cookie, None).await;
    let agent = gateway.connect(register("web-1")).await;
    let connected = stream.until(is("event", "fleet")).await;
    assert_eq!(connected.data["event"]["type"], "connected");
    drop(agent);
    let warnings = stream.until(|event| event.name == "warnings" && event.data["lost"] == 1).await;
    assert_eq!(warnings.data["agents"][0]["id"], "web-1");
    assert_eq!(warnings.data["agents"][0]["path"], "/instances/web-1");
    let page = gateway.page("/page/warnings", &cookie).await;
    assert!(page.contains("1 agent is lost"), "{page}");
    let _agent = gateway.connect(register("web-1")).await;
    stream.until(|event| event.name == "warnings" && event.data["lost"] == 0).await;

    // What has happened since that event comes first, in its order.
    let mut resumed = Stream::open(&gateway, &cookie, connected.id.as_deref()).await;
    let mut types = Vec::new();
    while types.len() < 2 {
        types.push(resumed.until(is("event", "fleet")).await.data["event"]["type"].clone());
    }
    assert_eq!(types, ["lost", "connected"]);
}

#[tokio::test]
async fn an_event_that_can_not_be_read_is_read_later() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let cookie = gateway.sign_in(&key).await;
    let mut stream = Stream::open(&gateway, &cookie, None).await;
    let database = rusqlite::Connection::open(data(gateway.folder()).join("gateway.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    // What is no UTF-8 is an error to whoever reads it.
    let spoil = "CREATE TRIGGER spoil AFTER INSERT ON events BEGIN
        UPDATE events SET what = CAST(x'ff' || what AS TEXT) WHERE id = NEW.id; END";
    database.execute_batch(spoil).unwrap();
    let _agent = gateway.connect(register("web-1")).await;
    eventually("the events can't be read", async || {
        let events = gateway.get("/api/events?after=0").bearer_auth(&key);
        events.send().await.unwrap().status().is_server_error()
    })
    .await;
    // The stream has tried too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mend = "DROP TRIGGER spoil;
        UPDATE events SET what = CAST(substr(CAST(what AS BLOB), 2) AS TEXT)
        WHERE substr(CAST(what AS BLOB), 1, 1) = x'ff'";
    database.execute_batch(mend).unwrap();
    let event = stream.until(is("event", "fleet")).await;
    assert_eq!(event.data["event"]["type"], "connected");
}

#[tokio::test]
async fn it_ends_with_its_session() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let (revoked, signed_out) =
        (gateway.sign_in(&key).await, gateway.sign_in(&gateway.keys.api("read")).await);
    let mut streams = [
        Stream::open(&gateway, &revoked, None).await,
        Stream::open(&gateway, &signed_out, None).await,
    ];
    gateway.keys.revoke(&key);
    let out = gateway.post("/sign-out").header("cookie", &signed_out).send().await.unwrap();
    assert_eq!(out.status(), 303);
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
}

#[tokio::test]
async fn lines_of_containers_come_by_the_same_stream() {
    let gateway = Gateway::start();
    let cookie = gateway.sign_in(&gateway.keys.api("read,logs")).await;
    let mut agent = gateway.connect(register("web/1")).await;
    let mut stream = Stream::open(&gateway, &cookie, None).await;
    let topic = "logs:web/1/nginx";
    let add = json!({"add": [{"topic": topic, "lines": 7}, {"topic": "instance:web/1"}]});
    assert_eq!(stream.change(&gateway, &cookie, add).await, 204);
    let request = agent.asked("logs_fetch").await;
    assert_eq!(request["params"], json!({"container": "nginx", "lines": 7, "follow": true}));
    stream.until(is("following", topic)).await;
    let lines = json!([{"ts": "2026-01-01T00:00:00Z", "text": "hello"}]);
    agent
        .tell("logs_chunk", json!({"id": request["id"], "seq": 0, "lines": lines, "dropped": 3}))
        .await;
    let told = stream.until(is("lines", topic)).await;
    assert_eq!((&told.data["lines"], &told.data["dropped"]), (&lines, &json!(3)));

    agent.tell("health_snapshot", json!({"cpu_pct": 1})).await;
    stream.until(is("changed", "instance:web/1")).await;

    assert_eq!(stream.change(&gateway, &cookie, json!({"remove": [topic]})).await, 204);
    let cancel = agent.asked("logs_cancel").await;
    assert_eq!(cancel["params"]["id"], request["id"]);
}

/// Another tab asks for the same instance meanwhile.
#[tokio::test]
async fn a_change_is_told_also_where_its_topic_is_asked_for_again() {
    let gateway = Gateway::start_in(scratch(), &["--plain", "--poll", "0"]);
    let cookie = gateway.sign_in(&gateway.keys.api("read")).await;
    let mut agent = gateway.connect(register("web-1")).await;
    let mut stream = Stream::open(&gateway, &cookie, None).await;
    let add = json!({"add": [{"topic": "instance:web-1"}]});
    assert_eq!(stream.change(&gateway, &cookie, add.clone()).await, 204);
    agent.tell("health_snapshot", json!({"cpu_pct": 1})).await;
    // It is to be told within a second. That it has happened is known sooner.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stream.change(&gateway, &cookie, add).await, 204);
    stream.until(is("changed", "instance:web-1")).await;
}

#[tokio::test]
async fn what_one_stream_may_ask_for_is_bounded_and_its_own() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs");
    let (cookie, other) = (gateway.sign_in(&key).await, gateway.sign_in(&key).await);
    let agent = gateway.connect(register("web-1")).await;
    let mut stream = Stream::open(&gateway, &cookie, None).await;
    let add = |count: usize| {
        let topics: Vec<_> =
            (0..count).map(|n| json!({"topic": format!("logs:web-1/c{n}")})).collect();
        json!({"add": topics})
    };
    assert_eq!(stream.change(&gateway, &other, add(1)).await, 404, "of another session");
    assert_eq!(stream.change(&gateway, &cookie, add(65)).await, 400);
    assert_eq!(stream.change(&gateway, &cookie, json!({"add": [{"topic": "logs:x"}]})).await, 400);
    assert_eq!(stream.change(&gateway, &cookie, add(9)).await, 204);
    let end = stream.until(|event| event.name == "end").await;
    assert_eq!(end.data["topic"], "logs:web-1/c8");

    let reads = gateway.sign_in(&gateway.keys.api("read")).await;
    let without_logs = Stream::open(&gateway, &reads, None).await;
    assert_eq!(without_logs.change(&gateway, &reads, add(1)).await, 403);

    // The oldest of too many streams ends.
    let mut later = Vec::new();
    for _ in 0..4 {
        later.push(Stream::open(&gateway, &cookie, None).await);
    }
    while stream.next().await.is_some() {}
    drop(agent);
}

#[tokio::test]
async fn nobody_is_told_without_a_session() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let cookie = gateway.sign_in(&key).await;
    let ask = || gateway.get_as("/page/stream", "text/event-stream");
    assert_eq!(ask().send().await.unwrap().status(), 401);
    let with_key = ask().header("authorization", format!("Bearer {key}")).header("cookie", &cookie);
    assert_eq!(with_key.send().await.unwrap().status(), 401);
    let cross = ask().header("cookie", &cookie).header("sec-fetch-site", "same-site");
    assert_eq!(cross.send().await.unwrap().status(), 403);
    assert_eq!(gateway.status("/page/warnings", "vmkit=guess").await, 303);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_what_it_followed() {
    let gateway = Gateway::start();
    let cookie = gateway.sign_in(&gateway.keys.api("read,logs")).await;
    let mut agent = gateway.connect(register("web-1")).await;
    let stream = Stream::open(&gateway, &cookie, None).await;
    let add = json!({"add": [{"topic": "logs:web-1/nginx"}]});
    assert_eq!(stream.change(&gateway, &cookie, add).await, 204);
    let request = agent.asked("logs_fetch").await;
    let name = stream.name.clone();
    drop(stream);
    // Noticed at the next event at the latest.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let line = json!([{"ts": "2026-01-01T00:00:00Z", "text": "hello"}]);
    agent.tell("logs_chunk", json!({"id": request["id"], "seq": 0, "lines": line})).await;
    let cancel = agent.asked("logs_cancel").await;
    assert_eq!(cancel["params"]["id"], request["id"]);
    eventually("the stream is forgotten", async || {
        let request =
            gateway.post_json(&format!("/page/stream/{name}/topics")).header("cookie", &cookie);
        let request = request.body("{}");
        request.send().await.unwrap().status() == 404
    })
    .await;
}
