//! A user of REST: reads one instance after the other, 50 a second, over connections that are kept.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::gateway::Gateway;
use super::snapshot;
use super::tls::{self, Stream};
use crate::figures::Figures;

const PERIOD: Duration = Duration::from_millis(20);
const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Reads {
    pub times: Figures,
    pub failed: usize,
}

struct Reader {
    config: Arc<ClientConfig>,
    port: u16,
    key: String,
    connections: Vec<Mutex<Option<Stream>>>,
}

pub fn read_for(gateway: &Gateway, agents: usize, time: Duration) -> Reads {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("it needs no threads").block_on(async {
        let reader = Arc::new(Reader {
            config: tls::config(&gateway.ca_file()).expect("the gateway wrote its CA"),
            port: gateway.port(),
            key: gateway.api_key.clone(),
            connections: (0..CONNECTIONS).map(|_| Mutex::new(None)).collect(),
        });
        for connection in &reader.connections {
            *connection.lock().await = reader.dial().await.ok();
        }
        let (mut reads, mut ticks) = (JoinSet::new(), interval(PERIOD));
        let deadline = Instant::now() + time;
        let mut number = 0;
        while Instant::now() < deadline {
            // Late or not, a read counts from when it was due.
            let due = ticks.tick().await;
            let reader = reader.clone();
            number += 1;
            reads.spawn(async move {
                let read = timeout(PATIENCE, reader.read(number, agents)).await;
                (due.elapsed(), matches!(read, Ok(Ok(()))))
            });
        }
        let done = reads.join_all().await;
        let failed = done.iter().filter(|(_, well)| !well).count();
        Reads { times: Figures::of(done.into_iter().map(|(took, _)| took)), failed }
    })
}

impl Reader {
    async fn dial(&self) -> io::Result<Stream> {
        tls::dial(self.config.clone(), Ipv4Addr::LOCALHOST, self.port).await
    }

    async fn read(&self, number: usize, agents: usize) -> io::Result<()> {
        let mut connection = self.connections[number % CONNECTIONS].lock().await;
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => self.dial().await?,
        };
        // A step that meets all of them, in no order that the gateway could profit from.
        let id = snapshot::id(number * 7919 % agents);
        let ask = format!(
            "GET /api/instances/{id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            self.key
        );
        stream.write_all(ask.as_bytes()).await?;
        stream.flush().await?;
        let answer = answer(&mut stream).await?;
        let well = answer.starts_with("HTTP/1.1 200 ") && answer.contains(&id);
        *connection = Some(stream);
        well.then_some(()).ok_or_else(|| io::Error::other(answer))
    }
}

/// With its whole body.
async fn answer(stream: &mut Stream) -> io::Result<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
