//! What connects for each instance: it registers, tells its snapshots, writes logs and takes upgrades,
//! which it rolls back.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use vmkit_gateway::clock::Moment;

use super::TOKEN;
use super::cast::{Fate, Instance};

type Socket = WebSocketStream<TcpStream>;

/// Every so often it writes a line for each follower, and every so many of these it pings.
const TICK: Duration = Duration::from_millis(250);
const PING_TICKS: u64 = 100;
const FLAP: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
pub async fn connect_all(address: SocketAddr, cast: Vec<Instance>) {
    let alive = cast.into_iter().filter(|instance| instance.fate != Fate::Lost);
    let agents = alive.map(|instance| async move {
        loop {
            let live = live(address, &instance);
            let outcome = match instance.fate {
                Fate::Flaps => tokio::time::timeout(FLAP, live).await.unwrap_or(Ok(())),
                _ => live.await,
            };
            drop(outcome);
            sleep(Duration::from_secs(if instance.fate == Fate::Flaps { 10 } else { 1 })).await;
        }
    });
    futures_util::future::join_all(agents).await;
}

async fn live(address: SocketAddr, instance: &Instance) -> Result<(), Error> {
    let mut request = format!("ws://{address}/api/daemon").into_client_request()?;
    let bearer = HeaderValue::try_from(format!("Bearer {TOKEN}"))?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client_async(request, TcpStream::connect(address).await?).await?;
    send(
        &mut socket,
        json!({"jsonrpc": "2.0", "id": 1, "method": "register", "params": instance.register}),
    )
    .await?;
    let mut ticks = interval(TICK);
    let (mut count, mut followed) = (0, Vec::new());
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => {
                    if let Message::Text(text) = message? {
                        let request: Value = serde_json::from_str(&text).unwrap_or_default();
                        answer(&mut socket, instance, request, &mut followed, count).await?;
                    }
                }
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                count += 1;
                if count % PING_TICKS == 0 {
                    socket.send(Message::Ping(Default::default())).await?;
                }
                for (id, seq) in &mut followed {
                    *seq += 1;
                    let lines = json!([line(count)]);
                    notify(&mut socket, "logs_chunk", json!({"id": id, "seq": *seq, "lines": lines})).await?;
                }
            }
        }
    }
}

async fn answer(
    socket: &mut Socket,
    instance: &Instance,
    request: Value,
    followed: &mut Vec<(Value, u64)>,
    count: u64,
) -> Result<(), Error> {
    let (id, params) = (request["id"].clone(), &request["params"]);
    let result = match request["method"].as_str() {
        Some("metrics_collect") => {
            let snapshot = snapshot(instance, count as f64);
            respond(socket, id, snapshot.clone()).await?;
            return notify(socket, "health_snapshot", snapshot).await;
        }
        Some("logs_fetch") => {
            let wanted = params["lines"].as_u64().unwrap_or(100);
            let lines: Vec<Value> =
                (0..wanted).map(|n| line(count.wrapping_sub(wanted - n))).collect();
            if params["follow"] == true {
                followed.push((id.clone(), 0));
                return notify(socket, "logs_chunk", json!({"id": id, "seq": 0, "lines": lines}))
                    .await;
            }
            json!({"lines": lines})
        }
        Some("logs_cancel") => {
            followed.retain(|(id, _)| *id != params["id"]);
            json!({"cancelled": true})
        }
        Some("agent_upgrade") => return upgrade(socket, id, params).await,
        _ => return Ok(()),
    };
    respond(socket, id, result).await
}

/// Downloads, restarts, and is given up.
async fn upgrade(socket: &mut Socket, id: Value, params: &Value) -> Result<(), Error> {
    for part in 1..=8 {
        let progress =
            json!({"id": id, "stage": "download", "bytes": part << 18, "total": 8 << 18});
        notify(socket, "upgrade_progress", progress).await?;
        sleep(Duration::from_millis(400)).await;
    }
    respond(socket, id, json!({"status": "upgrading"})).await?;
    sleep(Duration::from_secs(3)).await;
    let roll_back = json!({
        "version": params["version"], "checksum_sha256": params["checksum_sha256"], "cause": "crashed",
        "reason": "it crashed 3 times before its register was acknowledged (exit status 1)",
        "banned": true, "at": Moment::now()});
    notify(socket, "upgrade_rolled_back", roll_back).await
}

pub fn snapshot(instance: &Instance, tick: f64) -> Value {
    let near = |level: f64, swing: f64| {
        let value = level + (tick / 40.0 + level).sin() * swing;
        (value.clamp(0.0, 100.0) * 10.0).round() / 10.0
    };
    let [cpu, mem, disk] = instance.levels;
    let running = instance.containers.iter().filter(|container| container["state"] == "running");
    json!({"cpu_pct": near(cpu, 4.0), "mem_pct": near(mem, 1.0), "disk_pct": near(disk, 0.1),
           "container_count": running.count(), "containers": instance.containers,
           "host": {"uptime_s": 1_940_000, "load": [0.42, 0.37, 0.31], "swap_pct": null,
                    "disks": instance.disks},
           "collected_at": Moment::now()})
}

fn line(n: u64) -> Value {
    let words = [
        "GET /api/orders 200 12 ms",
        "GET /api/orders/1842 200 9 ms",
        "POST /api/orders 201 31 ms",
        "cache miss for key session:8f1c",
        "upstream took 1204 ms, the limit is 1000 ms",
    ];
    let place = (n % words.len() as u64) as usize;
    let mut line = json!({"ts": Moment::now(), "text": words[place]});
    if place == words.len() - 1 {
        line["from"] = json!("stderr");
    }
    line
}

async fn notify(socket: &mut Socket, method: &str, params: Value) -> Result<(), Error> {
    send(socket, json!({"jsonrpc": "2.0", "method": method, "params": params})).await
}

async fn respond(socket: &mut Socket, id: Value, result: Value) -> Result<(), Error> {
    send(socket, json!({"jsonrpc": "2.0", "id": id, "result": result})).await
}

async fn send(socket: &mut Socket, message: Value) -> Result<(), Error> {
    socket.send(Message::text(message.to_string())).await
}
