//! The real `gateway` with a folder of its own, a client that keeps no cookies by itself, and a plain agent.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use vmkit_test_support::Keys;

const BINARY: &str = env!("CARGO_BIN_EXE_gateway");
pub const PATIENCE: Duration = Duration::from_secs(15);

pub struct Gateway {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    commands: u64,
    folder: TempDir,
    pub keys: Keys,
    /// `http://localhost:PORT`
    pub url: String,
    client: reqwest::Client,
    token: String,
}

impl Gateway {
    pub fn start() -> Gateway {
        Gateway::start_in(scratch(), &["--plain"])
    }

    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Gateway {
        let keys = Keys::new(BINARY, data(folder.path()));
        let token = keys.agent(None);
        let mut child = Command::new(BINARY)
            .args(arguments)
            .args(["--data".as_ref(), data(folder.path()).as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway is built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("each line is JSON"));
            }
        });
        let stdin = child.stdin.take().expect("it is piped");
        let policy = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().redirect(policy).build().expect("it has no TLS");
        let url = String::new();
        let mut gateway =
            Gateway { child, stdin, lines, commands: 0, folder, keys, url, client, token };
        let listening = gateway.wait_for(|line| line["event"] == "listening");
        gateway.url = listening["api"].as_str().expect("it is a URL").to_owned();
        gateway
    }

    /// Ends at once, and starts again with what it has kept.
    pub fn killed_and_started(mut self) -> Gateway {
        self.child.kill().and_then(|()| self.child.wait()).expect("it runs");
        let folder = std::mem::replace(&mut self.folder, scratch());
        Gateway::start_in(folder, &["--plain"])
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A line of standard input, and its answer.
    pub fn command(&mut self, line: &str) -> Value {
        self.commands += 1;
        writeln!(self.stdin, "{line}").expect("it reads");
        let number = self.commands;
        self.wait_for(|line| line["command"] == number)
    }

    fn wait_for(&self, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the line comes in time");
            if is(&line) {
                return line;
            }
        }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.get_as(path, "text/html")
    }

    pub fn get_as(&self, path: &str, accept: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).header("accept", accept)
    }

    /// As a page of this site sends it.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.bare_post(path).header("origin", &self.url)
    }

    pub fn post_json(&self, path: &str) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.url)).header("origin", &self.url);
        request.header("content-type", "application/json")
    }

    pub fn bare_post(&self, path: &str) -> RequestBuilder {
        let form = "application/x-www-form-urlencoded";
        self.client.post(format!("{}{path}", self.url)).header("content-type", form)
    }

    /// The cookie, as it is sent back.
    pub async fn sign_in(&self, key: &str) -> String {
        let answer = self.post("/sign-in").body(format!("key={key}")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/"));
        cookie(answer.headers()).expect("it signs in")
    }

    pub async fn status(&self, path: &str, cookie: &str) -> u16 {
        self.get(path).header("cookie", cookie).send().await.unwrap().status().as_u16()
    }

    pub async fn page(&self, path: &str, cookie: &str) -> String {
        let answer = self.get(path).header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    pub async fn connect(&self, register: Value) -> Agent {
        let address = self.url.trim_start_matches("http://");
        let mut request = format!("ws://{address}/api/daemon").into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = client_async(request, stream).await.expect("its token is good");
        let mut agent = Agent { socket };
        agent
            .send(json!({"jsonrpc": "2.0", "id": 1, "method": "register", "params": register}))
            .await;
        let accepted = agent.next().await;
        assert_eq!(accepted["result"], json!({"ok": true}), "{accepted}");
        agent
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Agent {
    socket: WebSocketStream<TcpStream>,
}

impl Agent {
    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("the gateway reads");
    }

    pub async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match message.expect("it comes in time").expect("the session goes on").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next request of this name; others stay without an answer.
    pub async fn asked(&mut self, method: &str) -> Value {
        loop {
            let request = self.next().await;
            if request["method"] == method {
                return request;
            }
        }
    }

    pub async fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    pub async fn answer(&mut self, request: &Value, result: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).await;
    }
}

pub fn register(id: &str) -> Value {
    let capabilities = ["logs_follow", "logs_since", "containers", "host"];
    json!({"version": "1.0.0", "instance_id": id, "ip": "192.0.2.7", "os": "linux", "arch": "amd64",
           "protocol": 1, "capabilities": capabilities})
}

pub fn scratch() -> TempDir {
    let folder = tempfile::Builder::new().prefix("vmkit-test-").tempdir();
    folder.expect("a scratch folder can be made")
}

pub fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

pub fn location(answer: &Response) -> &str {
    answer.headers().get(LOCATION).map_or("", |value| value.to_str().unwrap())
}

pub fn cookie(headers: &HeaderMap) -> Option<String> {
    let set = headers.get(SET_COOKIE)?.to_str().unwrap();
    set.split(';').next().map(str::to_owned)
}

/// Asks again and again until it is so.
pub async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
