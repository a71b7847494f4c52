//! An agent in small: registers, sends a snapshot when asked, and serves the logs that the test gave it.

use std::net::TcpStream;

use serde_json::{Value, json};
use tokio::net::TcpStream as AsyncStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use futures_util::{SinkExt, StreamExt};

use crate::PATIENCE;
use crate::gateway::{Gateway, TOKEN};

/// Its container `slow` never answers.
pub const SLOW: &str = "slow";

pub struct Agent {
    task: JoinHandle<()>,
    /// Methods that the gateway has asked for.
    asked: watch::Receiver<Vec<String>>,
}

impl Agent {
    /// Registered, and its first snapshot is on its way: that of a healthy instance, but for these members.
    pub async fn start(gateway: &Gateway, id: &str, labels: Value, members: Value) -> Agent {
        Agent::logging(gateway, id, labels, members, Vec::new()).await
    }

    pub async fn logging(
        gateway: &Gateway,
        id: &str,
        labels: Value,
        members: Value,
        lines: Vec<String>,
    ) -> Agent {
        let mut socket = dial(gateway).await;
        let params = json!({
            "version": "1.0.0", "instance_id": id, "ip": "192.0.2.1", "os": "linux",
            "arch": "amd64", "labels": labels, "capabilities": ["logs_since"],
            "host": {"kernel": "6.1", "cpus": 2},
        });
        send(&mut socket, json!({"id": 1, "method": "register", "params": params})).await;
        let acknowledged = receive(&mut socket).await.expect("the gateway answers register");
        assert_eq!(acknowledged["result"]["ok"], true, "{acknowledged}");
        let (tell, asked) = watch::channel(Vec::new());
        let serve = async move {
            while let Some(request) = receive(&mut socket).await {
                tell.send_modify(|asked| asked.push(request["method"].to_string()));
                for message in answers(&request, &members, &lines) {
                    send(&mut socket, message).await;
                }
            }
        };
        Agent { task: tokio::spawn(serve), asked }
    }

    /// Returns when the gateway has asked for this.
    pub async fn asked(&self, method: &str) {
        let mut asked = self.asked.clone();
        let there = asked.wait_for(|asked| asked.contains(&format!("{method:?}")));
        let there = timeout(PATIENCE, there).await.expect("the gateway asks in time");
        there.expect("the agent serves");
    }

    /// Its connection ends without a word.
    pub fn lose(self) {}
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn dial(gateway: &Gateway) -> WebSocketStream<AsyncStream> {
    let stream = TcpStream::connect(("127.0.0.1", gateway.port())).expect("it listens");
    stream.set_nonblocking(true).expect("a socket can");
    let stream = AsyncStream::from_std(stream).expect("in a runtime");
    let mut request = gateway.daemon_url().into_client_request().expect("a URL");
    let token = format!("Bearer {TOKEN}").parse().expect("printable");
    request.headers_mut().insert("authorization", token);
    client_async(request, stream).await.expect("it upgrades").0
}

async fn send(socket: &mut WebSocketStream<AsyncStream>, mut message: Value) {
    message["jsonrpc"] = json!("2.0");
    // The test has what it wants by then, or fails for want of it.
    let _ = socket.send(Message::text(format!("{message}\n"))).await;
}

/// `None`: the session is over.
async fn receive(socket: &mut WebSocketStream<AsyncStream>) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.next().await?.ok()? {
            return serde_json::from_str(text.as_str()).ok();
        }
    }
}

fn answers(request: &Value, members: &Value, lines: &[String]) -> Vec<Value> {
    let answer = |result: Value| json!({"id": request["id"], "result": result});
    match request["method"].as_str() {
        Some("metrics_collect") => {
            let web = json!({"name": "web", "id": "0b5c", "image": "web:3", "state": "running",
                             "health": "healthy", "exit_code": null, "restarts": 7,
                             "oom_killed": false, "started_at": "2025-12-01T00:00:00Z"});
            let mut snapshot = json!({"cpu_pct": 12.5, "mem_pct": 41.0, "disk_pct": 10.0,
                                      "container_count": 1, "container_health": {"web": "healthy"},
                                      "containers": [web], "collected_at": "2026-01-01T00:00:00Z"});
            for (name, value) in members.as_object().into_iter().flatten() {
                snapshot[name] = value.clone();
            }
            let told = json!({"method": "health_snapshot", "params": snapshot});
            vec![answer(snapshot), told]
        }
        Some("logs_fetch") => match request["params"]["container"].as_str() {
            Some(SLOW) => Vec::new(),
            Some("web") => {
                let wanted = request["params"]["lines"].as_u64().unwrap_or(0) as usize;
                let all = lines.iter().zip(0..);
                let line = |(text, second): (&String, u32)| {
                    let ts = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
                    json!({"ts": ts, "text": text})
                };
                let last: Vec<Value> =
                    all.skip(lines.len().saturating_sub(wanted)).map(line).collect();
                vec![answer(json!({"lines": last}))]
            }
            name => {
                let words = format!("docker: no such container: {}\nsecond", name.unwrap_or("?"));
                vec![json!({"id": request["id"], "error": {"code": -32001, "message": words}})]
            }
        },
        _ => Vec::new(),
    }
}

/// Asks `probe` until it has something.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} in {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
