//! One light agent: it registers, pings, answers pings and polls, and comes back when it is lost.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frames::{self, CLOSE, PING, PONG, TEXT};
use super::snapshot;
use super::swarm::Shared;
use super::tls::{self, Stream};

/// From the dial to the answer to `register`.
const START_PATIENCE: Duration = Duration::from_secs(30);
const PING_PERIOD: Duration = Duration::from_secs(30);
/// For which a real agent watches the processors.
const SAMPLE: Duration = Duration::from_secs(1);
const ADDRESSES: usize = 8;

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
}

struct Session {
    stream: Stream,
    read: Vec<u8>,
    agent: usize,
    /// When the answer to this request is due.
    sample: Option<(Instant, Box<RawValue>)>,
}

pub async fn run(shared: &Shared, agent: usize) {
    loop {
        if let Ok(Ok(mut session)) = timeout(START_PATIENCE, Session::open(shared, agent)).await {
            shared.registered.fetch_add(1, Relaxed);
            let _ = session.serve(shared).await;
            shared.registered.fetch_sub(1, Relaxed);
            shared.lost.fetch_add(1, Relaxed);
        }
        // As a real agent, after its first failure: a random part of a second.
        sleep(shared.random_part(agent)).await;
    }
}

impl Session {
    /// Registered.
    async fn open(shared: &Shared, agent: usize) -> io::Result<Session> {
        let from = Ipv4Addr::new(127, 0, 0, 2 + (agent % ADDRESSES) as u8);
        let stream = tls::dial(shared.config(), from, shared.port).await;
        let stream = stream.inspect_err(|_| shared.gateway_is_another())?;
        let mut session = Session { stream, read: Vec::new(), agent, sample: None };
        session.upgrade(&shared.token).await?;
        session
            .tell(json!({"id": 1, "method": "register", "params": snapshot::register(agent)}))
            .await?;
        let (_, answer) = session.frame().await?;
        match String::from_utf8_lossy(&answer).contains(r#""ok":true"#) {
            true => Ok(session),
            false => Err(io::Error::other("not registered")),
        }
    }

    async fn upgrade(&mut self, token: &str) -> io::Result<()> {
        let head = format!(
            "GET /api/daemon HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\
             User-Agent: vmkit-agent/1.0.0 (linux; amd64)\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await?;
        let end = loop {
            let end = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.fill().await?,
            }
        };
        let switched = self.read.starts_with(b"HTTP/1.1 101 ");
        self.read.drain(..end);
        switched.then_some(()).ok_or_else(|| io::Error::other("no upgrade"))
    }

    /// Until the session is lost.
    async fn serve(&mut self, shared: &Shared) -> io::Result<()> {
        let mut ping =
            Instant::now() + PING_PERIOD.mul_f64(shared.random_part(self.agent).as_secs_f64());
        loop {
            let due = self.sample.as_ref().map(|(due, _)| *due);
            tokio::select! {
                frame = self.frame() => match frame? {
                    (PING, payload) => self.send(PONG, &payload).await?,
                    (TEXT, text) => self.asked(&text),
                    (CLOSE, _) => return Ok(()),
                    _ => {}
                },
                () = at(due) => self.answer(shared).await?,
                () = sleep_until(ping) => {
                    ping += PING_PERIOD;
                    self.send(PING, b"light").await?;
                }
            }
        }
    }

    fn asked(&mut self, text: &[u8]) {
        if let Ok(Incoming { id: Some(id), method: Some("metrics_collect") }) =
            serde_json::from_slice(text)
        {
            self.sample = Some((Instant::now() + SAMPLE, id.to_owned()));
        }
    }

    async fn answer(&mut self, shared: &Shared) -> io::Result<()> {
        let Some((_, id)) = self.sample.take() else {
            return Ok(());
        };
        let count = shared.polled(self.agent);
        let metrics = snapshot::metrics(self.agent, count);
        self.tell(json!({"id": id, "result": metrics})).await?;
        self.tell(json!({"method": "health_snapshot", "params": metrics})).await
    }

    async fn tell(&mut self, mut message: Value) -> io::Result<()> {
        message["jsonrpc"] = json!("2.0");
        self.send(TEXT, format!("{message}\n").as_bytes()).await
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frames::put(opcode, payload)).await?;
        self.stream.flush().await
    }

    /// The next one. Safe to cancel.
    async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            match frames::take(&mut self.read) {
                Some(frame) => return Ok(frame),
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 2048];
        match self.stream.read(&mut bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.read.extend_from_slice(&bytes[..count]);
                Ok(())
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
