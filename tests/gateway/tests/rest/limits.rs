//! What a client can make the gateway hold or wait for is bounded.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::agent::register;
use crate::support::gateway::Folder;
use crate::support::{Agent, Client, Gateway, eventually};

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address()).await.expect("it listens")
}

async fn connect_from(gateway: &Gateway, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(gateway.address().parse().unwrap()).await.expect("it listens")
}

/// All that comes until the gateway closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut read).await;
    String::from_utf8_lossy(&read).into_owned()
}

async fn exchange(gateway: &Gateway, request: &str) -> String {
    let mut stream = connect(gateway).await;
    // It may answer before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    timeout(Duration::from_secs(15), rest(&mut stream)).await.expect("it answers and closes")
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_size() {
    let gateway = Gateway::start(&[]).await;
    let request = |headers: &str| {
        format!("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
    };
    let many: String = (0..70).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(200 * 1024));
    assert!(exchange(&gateway, &request("")).await.starts_with("HTTP/1.1 200"));
    for headers in [&many, &large] {
        let answer = exchange(&gateway, &request(headers)).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{}: {answer:?}", headers.len());
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200 * 1024));
    let answer = exchange(&gateway, &long).await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer:?}");
}

/// What two readers could take for the end of a request in different places is refused, or ends the
/// connection: nothing is smuggled behind it.
#[tokio::test]
async fn a_request_has_one_end() {
    let gateway = Gateway::start(&[]).await;
    let hidden = "GET /health HTTP/1.1\r\nHost: hidden\r\n\r\n";
    let length = hidden.len();
    for headers in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        "Content-Length: +0\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Content-Length : 0\r\n".to_owned(),
        " Content-Length: 0\r\n".to_owned(),
    ] {
        let request = format!("POST /health HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{hidden}");
        let mut stream = connect(&gateway).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answers = timeout(Duration::from_secs(15), rest(&mut stream)).await.unwrap();
        assert!(!answers.contains("200 OK"), "{headers:?}: {answers:?}");
    }
}

/// All at once: each takes its whole time.
#[tokio::test]
async fn who_dawdles_is_left() {
    let gateway = Gateway::start(&["--connections", "50"]).await;
    let started = Instant::now();
    let silent = async {
        rest(&mut connect(&gateway).await).await;
        started.elapsed()
    };
    let dribbling = async {
        let mut stream = connect(&gateway).await;
        stream.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
        while stream.write_all(b"x: y\r\n").await.is_ok() && started.elapsed().as_secs() < 40 {
            sleep(Duration::from_millis(500)).await;
        }
        started.elapsed()
    };
    let idle = async {
        let mut stream = connect(&gateway).await;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
        started.elapsed()
    };
    let slow_body = async {
        let mut stream = connect(&gateway).await;
        let head = format!(
            "POST /api/instances/a/upgrade HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: 100\r\n\r\n",
            gateway.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
        assert!(answer.contains("application/problem+json"), "{answer:?}");
        started.elapsed()
    };
    let all = async { tokio::join!(silent, dribbling, idle, slow_body) };
    let (silent, dribbling, idle, slow_body) =
        timeout(Duration::from_secs(60), all).await.expect("nobody is waited for");
    // 20 s for the headers, 10 s for a body, and some for a busy machine.
    for (name, took, allowed) in [
        ("silent", silent, 19..27),
        ("dribbling", dribbling, 19..27),
        ("idle", idle, 19..27),
        ("slow body", slow_body, 9..17),
    ] {
        assert!(allowed.contains(&took.as_secs()), "{name}: {took:?}");
    }
}

#[tokio::test]
async fn connections_are_bounded_by_address() {
    let gateway = Gateway::start(&["--per-address", "5", "--connections", "8"]).await;
    let held: Vec<TcpStream> = [
        connect_from(&gateway, "127.0.0.1").await,
        connect_from(&gateway, "127.0.0.1").await,
        connect_from(&gateway, "127.0.0.1").await,
        connect_from(&gateway, "127.0.0.1").await,
        connect_from(&gateway, "127.0.0.1").await,
    ]
    .into();
    for _ in 0..20 {
        let mut more = connect_from(&gateway, "127.0.0.1").await;
        assert_eq!(rest(&mut more).await, "", "closed at once");
    }
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(connect_from(&gateway, "127.0.0.2").await);
    }
    eventually("all places are taken", async || {
        (!serves(&gateway, "127.0.0.3").await).then_some(())
    })
    .await;
    drop(others);
    let another = async || serves(&gateway, "127.0.0.2").await.then_some(());
    eventually("another address has places of its own", another).await;
    drop(held);
    eventually("a place is free again", async || serves(&gateway, "127.0.0.1").await.then_some(()))
        .await;
    let complaints = gateway.log().iter().filter(|line| line.contains("too many")).count();
    assert!((1..=2).contains(&complaints), "{complaints} lines for one flood");
}

/// Whether `/health` answers whoever comes from this address.
async fn serves(gateway: &Gateway, address: &str) -> bool {
    let mut stream = connect_from(gateway, address).await;
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(request).await;
    rest(&mut stream).await.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_session_takes_a_place_as_long_as_it_lives() {
    let gateway = Gateway::start(&["--per-address", "4", "--connections", "6"]).await;
    let mut agents = Vec::new();
    for n in 0..4 {
        agents.push(Agent::start(&gateway, &n.to_string()).await);
    }
    sleep(Duration::from_millis(200)).await;
    assert!(!serves(&gateway, "127.0.0.1").await, "its places are taken by agents");
    let idle =
        [connect_from(&gateway, "127.0.0.2").await, connect_from(&gateway, "127.0.0.2").await];
    eventually("all are taken", async || (!serves(&gateway, "127.0.0.3").await).then_some(()))
        .await;
    drop(idle);
    eventually("others have places", async || serves(&gateway, "127.0.0.3").await.then_some(()))
        .await;
    assert!(!serves(&gateway, "127.0.0.1").await);
    agents.pop();
    eventually("one is free", async || serves(&gateway, "127.0.0.1").await.then_some(())).await;
}

#[tokio::test]
async fn a_token_for_one_instance_has_few_sessions() {
    let gateway = Gateway::start(&[]).await;
    let token = gateway.folder().keys.agent(Some("web-1"));
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(Agent::connect(&gateway, &token).await.expect("there is room"));
    }
    assert_eq!(Agent::connect(&gateway, &token).await.err(), Some(429));
    let other = gateway.folder().keys.agent(Some("web-2"));
    assert!(Agent::connect(&gateway, &other).await.is_ok(), "each token has its own");
    assert!(Agent::connect(&gateway, &gateway.token).await.is_ok(), "this one is for a fleet");
    sessions.pop();
    let back = async || Agent::connect(&gateway, &token).await.ok();
    drop(eventually("one has ended", back).await);
}

fn roll_back(n: u32, length: usize) -> Value {
    json!({"version": format!("1.{n}.0"), "checksum_sha256": "1".repeat(64),
           "reason": "r".repeat(length), "cause": "crashed", "banned": true})
}

#[tokio::test]
async fn a_tls_handshake_has_its_time() {
    let folder = tempfile::Builder::new().prefix("vmkit-test-").tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let gateway = Gateway::start(&["--ca-out", ca.to_str().unwrap()]).await;
    let started = Instant::now();
    let mut plain = connect(&gateway).await;
    plain.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!rest(&mut plain).await.contains("HTTP"), "nothing is said without TLS");
    assert!(started.elapsed() < Duration::from_secs(5));
    rest(&mut connect(&gateway).await).await;
    assert!((9..17).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

/// Each reader of live events has one of so many places, and who does not read loses it.
#[tokio::test(flavor = "multi_thread")]
async fn readers_of_live_events_are_bounded() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let open = async || {
        let mut stream = connect(&gateway).await;
        let request = format!(
            "GET /api/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {}\r\n\r\n",
            gateway.key
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let mut readers = Vec::new();
    let refused = loop {
        let (stream, status) = open().await;
        if status != "HTTP/1.1 200" {
            break status;
        }
        readers.push(stream);
        assert!(readers.len() <= 1000, "no end of readers");
    };
    assert_eq!(refused, "HTTP/1.1 503");
    let live = client.request(reqwest::Method::GET, "/api/events");
    let answer = crate::support::Answer::of(live.header("accept", "text/event-stream")).await;
    answer.problem(503, "busy");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(client.get("/api/events").await.status, 200, "a page is no live stream");
    readers.pop();
    eventually("a place is free", async || {
        let (stream, status) = open().await;
        (status == "HTTP/1.1 200").then_some(stream)
    })
    .await;
}

/// Many agents with the largest labels, of characters that JSON writes as six: a page ends before it is too large to hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_instances_is_bounded_in_bytes() {
    let gateway = Gateway::start(&[]).await;
    let labels: serde_json::Map<String, Value> =
        (0..64).map(|n| (format!("{n:0>256}"), json!("\u{1}".repeat(256)))).collect();
    let mut agents = Vec::new();
    for n in 0..60 {
        let mut said = register(&format!("web-{n:02}"));
        said["labels"] = json!(labels);
        agents.push(Agent::start_as(&gateway, said).await);
    }
    let client = gateway.client();
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let answer = client.get(&format!("/api/instances?limit=1000{after}")).await;
        assert!(answer.body.len() < 1_200_000, "{} bytes", answer.body.len());
        let page = answer.json();
        let ids = page["instances"].as_array().unwrap().iter().map(|one| one["id"].to_string());
        seen.extend(ids);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(after.len() > 1, "there was more than one page");
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted());
}

/// An agent that repeats itself does not push out what others have to tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_is_the_loss_of_who_sends_it() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let flood = Agent::start(&gateway, "flood").await;
    let quiet = Agent::start(&gateway, "quiet").await;
    for n in 0..30_000 {
        flood.notify("upgrade_rolled_back", roll_back(n, 500));
        if n == 15_000 {
            drop(Agent::start(&gateway, "other").await);
        }
    }
    quiet.vanish(&gateway).await;
    for (id, types) in [("quiet", ["connected", "lost"]), ("other", ["connected", "lost"])] {
        let events = async || {
            let events = client.json(&format!("/api/instances/{id}/events?after=0")).await;
            let events = events["events"].as_array().unwrap().clone();
            let found: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
            (found == types).then_some(())
        };
        eventually(id, events).await;
    }
    let events = client.json("/api/instances/flood/events?limit=1000").await;
    let kept = events["events"].as_array().unwrap().len();
    assert!((500..700).contains(&kept), "500 at once, and one each second: {kept}");
}

/// Who does not read what it has asked for is left after a minute, and holds its place no longer.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_left() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let socket = TcpSocket::new_v4().unwrap();
    // So that little fits between the two.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut reader = socket.connect(gateway.address().parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /api/instances/web-1/logs?container=web&follow=1 HTTP/1.1\r\nHost: a\r\n\
         Authorization: Bearer {}\r\n\r\n",
        gateway.key
    );
    reader.write_all(request.as_bytes()).await.unwrap();
    let request = agent.asked("logs_fetch").await;
    let line = json!({"ts": "2026-01-01T00:01:00.000000001Z", "text": "x".repeat(1000)});
    let started = Instant::now();
    let mut seq = 0;
    let cancel = loop {
        let lines: Vec<_> = std::iter::repeat_n(line.clone(), 200).collect();
        agent.notify("logs_chunk", json!({"id": request.id, "seq": seq, "lines": lines}));
        seq += 1;
        if let Ok(cancel) = timeout(Duration::from_millis(250), agent.next()).await {
            break cancel;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it is held for ever");
    };
    assert_eq!(cancel.method, "logs_cancel");
    let nobody = Client::new(&gateway.api, None);
    assert_eq!(nobody.get("/health").await.status, 200);
}

/// A terminal that is stopped, or a pipe to a program that hangs.
#[tokio::test]
async fn who_does_not_read_standard_output_stops_nobody() {
    let folder = Folder::new();
    let (key, token) = (folder.keys.api("read"), folder.keys.agent(None));
    let script = r#""$@" | { IFS= read -r line; echo "$line"; exec sleep 6; }"#;
    let gateway = Gateway::start_by(folder, key, token, script).await;
    let agent = Agent::start(&gateway, "a").await;
    // A pipe holds 64 KiB.
    (0..2000).for_each(|number| agent.snapshot(f64::from(number) / 100.0));
    let client = gateway.client();
    let shown = async || {
        let instance = client.json("/api/instances/a").await;
        (instance["metrics"]["cpu_pct"] == 19.99).then_some(())
    };
    timeout(Duration::from_secs(4), eventually("the last snapshot", shown)).await.expect("at once");
}
