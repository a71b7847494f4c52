//! An agent that a test plays: it registers, answers what it is asked as the test says, and pings as the
//! real one does. Each of its messages and each of the gateway's is held against the protocol's schemas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use vmkit_test_support::schemas::Conversation;

use super::gateway::Gateway;
use super::{PATIENCE, eventually};

type Socket = WebSocketStream<TcpStream>;

const PING: Duration = Duration::from_secs(1);

pub struct Agent {
    pub id: String,
    sender: mpsc::UnboundedSender<Out>,
    requests: mpsc::UnboundedReceiver<Request>,
    responses: mpsc::UnboundedReceiver<Value>,
    deaf: Arc<AtomicBool>,
    ended: Option<oneshot::Receiver<Option<u16>>>,
    task: JoinHandle<()>,
}

/// What the gateway asks.
#[derive(Debug)]
pub struct Request {
    pub id: Value,
    pub params: Value,
    pub method: String,
}

enum Out {
    Message(String),
    /// Not held against the schemas.
    Broken(String),
}

impl Agent {
    /// Connected and registered, with all that an agent can say.
    pub async fn start(gateway: &Gateway, id: &str) -> Agent {
        Agent::start_as(gateway, register(id)).await
    }

    pub async fn start_as(gateway: &Gateway, register: Value) -> Agent {
        let mut agent = Agent::connect(gateway, &gateway.token).await.expect("its token is good");
        let accepted = agent.register(register).await;
        assert_eq!(accepted["result"], json!({"ok": true}), "{accepted}");
        agent
    }

    /// The error is the status of the gateway's answer.
    pub async fn connect(gateway: &Gateway, token: &str) -> Result<Agent, u16> {
        Agent::connect_to(gateway.address(), token).await
    }

    /// The error is the status of the gateway's answer; 0: there is none.
    pub async fn connect_to(address: &str, token: &str) -> Result<Agent, u16> {
        let url = format!("ws://{address}/api/daemon");
        let mut request = url.into_client_request().expect("it is a URL");
        let token = HeaderValue::try_from(format!("Bearer {token}")).expect("it is ASCII");
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(address).await.map_err(|_| 0_u16)?;
        let socket =
            match timeout(PATIENCE, client_async(request, stream)).await.expect("it answers") {
                Ok((socket, _)) => socket,
                Err(Error::Http(answer)) => return Err(answer.status().as_u16()),
                Err(_) => return Err(0),
            };
        let (sender, out) = mpsc::unbounded_channel();
        let (asked, requests) = mpsc::unbounded_channel();
        let (answered, responses) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let deaf = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(play(socket, out, asked, answered, deaf.clone()).map(|code| {
            let _ = end.send(code);
        }));
        let (id, ended) = (String::new(), Some(ended));
        Ok(Agent { id, sender, requests, responses, deaf, ended, task })
    }

    /// The whole answer; null where the session ended before.
    pub async fn register(&mut self, params: Value) -> Value {
        self.id = params["instance_id"].as_str().unwrap_or_default().to_owned();
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "register", "params": params}));
        let answer = timeout(PATIENCE, self.responses.recv()).await.expect("register is answered");
        answer.unwrap_or_default()
    }

    /// Sends a `health_snapshot`.
    pub fn snapshot(&self, cpu: f64) {
        self.notify("health_snapshot", snapshot(cpu));
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// The next request, which must be of this method.
    #[track_caller]
    pub fn asked<'a>(&'a mut self, method: &'a str) -> impl Future<Output = Request> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let request = timeout(PATIENCE, self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("{place}: nobody asks for {method}"));
            let request = request.unwrap_or_else(|| panic!("{place}: the session has ended"));
            assert_eq!(request.method, method, "{place}: {request:?}");
            request
        }
    }

    /// The next request, whenever it comes.
    pub async fn next(&mut self) -> Request {
        self.requests.recv().await.expect("the session goes on")
    }

    pub fn answer(&self, request: &Request, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": request.id, "result": result}));
    }

    pub fn refuse(&self, request: &Request, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        self.send(&json!({"jsonrpc": "2.0", "id": request.id, "error": error}));
    }

    pub fn send(&self, message: &Value) {
        let _ = self.sender.send(Out::Message(format!("{message}\n")));
    }

    /// Something that no agent should send.
    pub fn send_broken(&self, text: &str) {
        let _ = self.sender.send(Out::Broken(text.to_owned()));
    }

    /// From now on it reads nothing, so it answers no ping either.
    pub fn stop_reading(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// The code of the gateway's close; none where the connection just ended.
    pub async fn closed(&mut self) -> Option<u16> {
        let ended = self.ended.take().expect("it is asked once");
        timeout(PATIENCE, ended).await.expect("the session ends").expect("the agent plays on")
    }

    /// Ends the TCP connection without a close, and returns once the gateway knows.
    pub async fn vanish(mut self, gateway: &Gateway) {
        let id = std::mem::take(&mut self.id);
        drop(self);
        let client = gateway.client();
        let path = format!("/api/instances/{id}");
        eventually("its loss is noticed", async || {
            (client.json(&path).await["agent_connected"] == false).then_some(())
        })
        .await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        let played = (&mut self.task).now_or_never();
        if let Some(Err(error)) = played
            && error.is_panic()
            && !std::thread::panicking()
        {
            panic!("the agent of this test met what no schema allows");
        }
    }
}

/// Everything that an agent may say of itself.
pub fn register(id: &str) -> Value {
    json!({
        "version": "1.0.0", "instance_id": id, "ip": "192.0.2.7", "os": "linux", "arch": "amd64",
        "protocol": 1, "capabilities": ["containers", "host", "logs_follow", "logs_since"],
        "build": "0123456789ab", "boot_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "labels": {"env": "prod"},
        "host": {"kernel": "6.1.0", "distribution": "Debian GNU/Linux 12 (bookworm)", "cpus": 2,
                 "mem_total": 4_102_029_312_u64, "init": "systemd"},
        "upgrade": {"probation": null, "rolled_back": []},
    })
}

pub fn snapshot(cpu: f64) -> Value {
    json!({
        "cpu_pct": cpu, "mem_pct": 41.5, "disk_pct": 63.2, "container_count": 1,
        "container_health": {"web": "healthy"}, "collected_at": "2026-01-01T00:02:00Z",
    })
}

/// The code of the gateway's close, when it has ended.
async fn play(
    mut socket: Socket,
    mut out: mpsc::UnboundedReceiver<Out>,
    asked: mpsc::UnboundedSender<Request>,
    answered: mpsc::UnboundedSender<Value>,
    deaf: Arc<AtomicBool>,
) -> Option<u16> {
    let mut conversation = Conversation::default();
    let mut ping = interval(PING);
    loop {
        let reads = !deaf.load(Ordering::Relaxed);
        tokio::select! {
            _ = ping.tick(), if reads => drop(socket.send(Message::Ping(Vec::new().into())).await),
            message = out.recv() => {
                let text = match message? {
                    Out::Message(text) => { conversation.from_agent(&text); text }
                    Out::Broken(text) => text,
                };
                let _ = socket.send(Message::text(text)).await;
            }
            received = socket.next(), if reads => match received {
                Some(Ok(Message::Text(text))) => {
                    conversation.from_gateway(&text);
                    let message: Value = serde_json::from_str(&text).expect("it has a schema");
                    if let Some(method) = message["method"].as_str() {
                        let (id, params) = (message["id"].clone(), message["params"].clone());
                        let _ = asked.send(Request { id, params, method: method.to_owned() });
                    } else {
                        let _ = answered.send(message);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = socket.close(None).await;
                    return frame.map(|frame| frame.code.into());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            },
            // Only to look again whether it may read.
            () = tokio::time::sleep(Duration::from_millis(50)), if !reads => {}
        }
    }
}
