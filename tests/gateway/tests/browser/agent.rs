//! A fake agent: speaks the protocol to the gateway, and does what its test says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use vmkit_test_support::PATIENCE;

use crate::gateway::{Gateway, TOKEN};

/// Between two chunks of a flood: the agent sends a line at most 250 ms after it is written.
const CHUNK_EVERY: Duration = Duration::from_millis(50);

pub struct Agent {
    state: Arc<Mutex<State>>,
    say: mpsc::UnboundedSender<Say>,
}

enum Say {
    Text(String),
    /// Ends the connection without a word.
    Lose,
}

#[derive(Default)]
struct State {
    snapshot: Value,
    /// By container.
    logs: HashMap<String, Vec<Value>>,
    /// By container: the raw id of the follow, and its next chunk's number.
    follows: HashMap<String, (Value, u64)>,
    /// What the gateway has asked for, `metrics_collect` aside.
    asked: Vec<Value>,
    /// Chunks of a stream wait for so long before they are sent.
    stream_pause: Duration,
}

pub fn register(id: &str) -> Value {
    json!({"version": "1.0.0", "instance_id": id, "ip": "192.0.2.10", "os": "linux", "arch": "amd64",
           "protocol": 1, "capabilities": ["containers", "host", "logs_follow", "logs_since"],
           "build": "0123456789ab", "boot_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
           "labels": {"env": "prod", "role": "db"},
           "host": {"kernel": "6.1.0-18-cloud-amd64", "distribution": "Debian GNU/Linux 12 (bookworm)",
                    "cpus": 2, "mem_total": 4_102_029_312_u64, "init": "systemd"},
           "upgrade": {"probation": null, "rolled_back": []}})
}

pub fn container(name: &str, state: &str, health: &str) -> Value {
    json!({"name": name, "id": "4f66ad9a0b2e", "image": format!("registry.example/{name}:1.4"),
           "state": state, "health": health, "exit_code": if state == "exited" { 137 } else { 0 },
           "restarts": if state == "restarting" { 12 } else { 0 }, "oom_killed": false,
           "started_at": "2026-01-01T00:00:00Z"})
}

pub fn snapshot(cpu: f64, containers: Vec<Value>) -> Value {
    let running = |one: &&Value| one["state"] == "running";
    let health = containers.iter().filter(running);
    let health: HashMap<_, _> =
        health.map(|one| (one["name"].as_str().unwrap(), &one["health"])).collect();
    json!({"cpu_pct": cpu, "mem_pct": 41.3, "disk_pct": 63.2, "container_count": health.len(),
           "container_health": health, "collected_at": "2026-01-01T00:00:00Z",
           "containers": containers,
           "host": {"uptime_s": 93_600, "load": [0.31, 0.24, 0.2], "swap_pct": 0.0,
                    "disks": {"/": {"used_pct": 63.2, "inodes_pct": 8.0}}}})
}

impl Agent {
    /// Returns once it is registered.
    pub async fn start(gateway: &Gateway, register: Value) -> Agent {
        let mut socket = dial(gateway).await;
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "register", "params": register});
        socket.send(line(&request)).await.expect("the gateway reads");
        loop {
            let answer = timeout(PATIENCE, socket.next()).await.expect("an answer to register");
            if let Message::Text(text) = answer.expect("no end").expect("no error") {
                let answer: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(answer["result"]["ok"], true, "{answer}");
                break;
            }
        }
        let web = container("web", "running", "healthy");
        let state = State { snapshot: snapshot(12.5, vec![web]), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (say, said) = mpsc::unbounded_channel();
        tokio::spawn(serve(socket, state.clone(), said, say.clone()));
        Agent { state, say }
    }

    pub async fn set_snapshot(&self, snapshot: Value) {
        self.state.lock().await.snapshot = snapshot;
    }

    /// The log that the container has had so far.
    pub async fn set_log(&self, container: &str, lines: Vec<Value>) {
        self.state.lock().await.logs.insert(container.to_owned(), lines);
    }

    pub async fn set_stream_pause(&self, pause: Duration) {
        self.state.lock().await.stream_pause = pause;
    }

    /// The container writes more.
    pub async fn write(&self, container: &str, lines: Vec<Value>) {
        self.write_after(container, lines, 0).await;
    }

    /// The same, where the agent has left out lines before these.
    pub async fn write_after(&self, container: &str, lines: Vec<Value>, dropped: u64) {
        let mut state = self.state.lock().await;
        if let Some((id, seq)) = state.follows.get_mut(container) {
            let mut params = json!({"id": id, "seq": seq, "lines": lines});
            if dropped > 0 {
                params["dropped"] = json!(dropped);
            }
            *seq += 1;
            self.send(&json!({"jsonrpc": "2.0", "method": "logs_chunk", "params": params}));
        }
        state.logs.entry(container.to_owned()).or_default().extend(lines);
    }

    /// Returns how many lines were sent.
    pub async fn flood(&self, container: &str, per_second: u64, time: Duration) -> u64 {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            sleep_until(Instant::now() + CHUNK_EVERY).await;
            let due = (start.elapsed().as_secs_f64() * per_second as f64) as u64;
            let lines = (sent..due).map(|n| {
                let text =
                    format!("GET /api/orders/{n} 200 {}ms trace={n:016x} user=4711", n % 300);
                log_line(n, &text, n % 50 == 0)
            });
            let lines: Vec<Value> = lines.collect();
            self.write(container, lines).await;
            self.state.lock().await.logs.remove(container);
            sent = due;
        }
        sent
    }

    /// The container ends, and with it whoever follows it.
    pub async fn end_container(&self, container: &str) {
        if let Some((id, seq)) = self.state.lock().await.follows.remove(container) {
            self.answer(&id, json!({"lines": [], "streamed": seq, "ended": "container"}));
        }
    }

    pub async fn is_followed(&self, container: &str) -> bool {
        self.state.lock().await.follows.contains_key(container)
    }

    /// The requests with this method so far.
    pub async fn asked(&self, method: &str) -> Vec<Value> {
        let state = self.state.lock().await;
        state.asked.iter().filter(|request| request["method"] == method).cloned().collect()
    }

    pub fn answer(&self, id: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    pub fn send(&self, message: &Value) {
        let _ = self.say.send(Say::Text(format!("{message}\n")));
    }

    /// Ends its connection without a close.
    pub fn lose(&self) {
        let _ = self.say.send(Say::Lose);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.lose();
    }
}

/// A line of a log, written `n` milliseconds after a fixed time.
pub fn log_line(n: u64, text: &str, is_error: bool) -> Value {
    let (hour, minute, second) = (n / 3_600_000, n / 60_000 % 60, n / 1000 % 60);
    let ts = format!("2026-01-01T{hour:02}:{minute:02}:{second:02}.{:03}000000Z", n % 1000);
    match is_error {
        true => json!({"ts": ts, "text": text, "from": "stderr"}),
        false => json!({"ts": ts, "text": text}),
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn dial(gateway: &Gateway) -> Socket {
    let url = format!("ws://127.0.0.1:{}/api/daemon", gateway.port());
    let mut request = url.into_client_request().expect("a URL");
    let token = format!("Bearer {TOKEN}").parse().expect("ASCII");
    request.headers_mut().insert("authorization", token);
    connect_async(request).await.expect("the gateway listens").0
}

fn line(message: &Value) -> Message {
    Message::text(format!("{message}\n"))
}

async fn serve(
    mut socket: Socket,
    state: Arc<Mutex<State>>,
    mut said: mpsc::UnboundedReceiver<Say>,
    say: mpsc::UnboundedSender<Say>,
) {
    let mut ping = interval(Duration::from_secs(15));
    loop {
        tokio::select! {
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["method"].is_string() {
                        obey(&state, &say, message).await;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            next = said.recv() => match next {
                Some(Say::Text(text)) => drop(socket.send(Message::text(text)).await),
                Some(Say::Lose) | None => return,
            },
            _ = ping.tick() => drop(socket.send(Message::Ping(Vec::new().into())).await),
        }
    }
}

async fn obey(state: &Mutex<State>, say: &mpsc::UnboundedSender<Say>, request: Value) {
    let mut state = state.lock().await;
    let (id, params) = (&request["id"], &request["params"]);
    let send = |message: Value| drop(say.send(Say::Text(format!("{message}\n"))));
    let answer = |result: Value| send(json!({"jsonrpc": "2.0", "id": id, "result": result}));
    let container = params["container"].as_str().unwrap_or_default().to_owned();
    match request["method"].as_str().unwrap_or_default() {
        "metrics_collect" => {
            let snapshot = state.snapshot.clone();
            send(json!({"jsonrpc": "2.0", "method": "health_snapshot", "params": snapshot}));
            return answer(snapshot);
        }
        "logs_fetch" if container == "nobody" => {
            let error = json!({"code": -32001, "message": "no container nobody; see docker ps -a"});
            send(json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        "logs_fetch" => {
            let log = state.logs.get(&container).cloned().unwrap_or_default();
            let lines = params["lines"].as_u64().unwrap_or(100) as usize;
            let last = &log[log.len().saturating_sub(lines)..];
            if params["follow"] == true {
                send_chunks(say, id, last);
                let seq = last.chunks(CHUNK).len() as u64;
                state.follows.insert(container, (id.clone(), seq));
            } else if params["stream"] == true {
                let (say, id, last) = (say.clone(), id.clone(), last.to_vec());
                let pause = state.stream_pause;
                tokio::spawn(async move { stream(say, id, last, pause).await });
            } else {
                answer(json!({"lines": last}));
            }
        }
        "logs_cancel" => {
            let followed = state.follows.iter().find(|(_, (follow, _))| *follow == params["id"]);
            let container = followed.map(|(container, _)| container.clone());
            let follow = container.and_then(|container| state.follows.remove(&container));
            answer(json!({"cancelled": follow.is_some()}));
            if let Some((follow, _)) = follow {
                let result = json!({"lines": [], "streamed": 0, "ended": "cancelled"});
                send(json!({"jsonrpc": "2.0", "id": follow, "result": result}));
            }
        }
        // Its test answers.
        _ => {}
    }
    state.asked.push(request);
}

/// Lines of one chunk.
const CHUNK: usize = 500;

fn send_chunks(say: &mpsc::UnboundedSender<Say>, id: &Value, lines: &[Value]) {
    for (seq, lines) in lines.chunks(CHUNK).enumerate() {
        let params = json!({"id": id, "seq": seq, "lines": lines});
        let chunk = json!({"jsonrpc": "2.0", "method": "logs_chunk", "params": params});
        let _ = say.send(Say::Text(format!("{chunk}\n")));
    }
}

async fn stream(say: mpsc::UnboundedSender<Say>, id: Value, lines: Vec<Value>, pause: Duration) {
    for (seq, part) in lines.chunks(CHUNK).enumerate() {
        tokio::time::sleep(pause).await;
        let params = json!({"id": id, "seq": seq, "lines": part});
        let chunk = json!({"jsonrpc": "2.0", "method": "logs_chunk", "params": params});
        let _ = say.send(Say::Text(format!("{chunk}\n")));
    }
    let result = json!({"lines": [], "streamed": lines.len()});
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
    let _ = say.send(Say::Text(format!("{answer}\n")));
}
