//! A connection up to its upgrade request, and the answer to it: a session, a refusal, or any bytes.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::session::Session;
use super::trace::{From, Trace};

/// Bytes of an upgrade request.
const LONGEST_HEAD: usize = 32 * 1024;
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An upgrade request, as the agent wrote it.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    /// The address that the agent's socket has.
    pub peer: SocketAddr,
}

impl Request {
    /// The values of all headers of this name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_default()
    }

    /// The path and the query.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

pub struct Dial {
    pub request: Request,
    /// When the connection was made.
    pub at: Instant,
    pub number: u32,
    stream: Box<dyn Stream>,
    trace: Trace,
}

/// What is known of a connection before its first byte.
pub struct Origin {
    pub peer: SocketAddr,
    pub number: u32,
    pub at: Instant,
}

impl Dial {
    /// Reads the upgrade request.
    pub async fn read(
        mut stream: Box<dyn Stream>,
        origin: Origin,
        within: Duration,
        trace: Trace,
    ) -> io::Result<Dial> {
        let Origin { peer, number, at } = origin;
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                if head.len() > LONGEST_HEAD {
                    return Err(io::Error::other("its request has more than 32 KiB"));
                }
                head.push(stream.read_u8().await?);
            }
            Ok(())
        };
        timeout(within, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let head = String::from_utf8_lossy(&head).into_owned();
        // Lines of a trace are cut, so a part of the token could stay of it.
        let fields = head
            .trim_end()
            .split("\r\n")
            .filter(|field| !field.to_ascii_lowercase().starts_with("authorization:"));
        let shown: Vec<&str> = fields.chain(["Authorization: ..."]).collect();
        trace.note(From::Agent, number, &shown.join(" | "));
        Ok(Dial { request: Request { head, peer }, at, number, stream, trace })
    }

    /// Answers 101, with more headers (each with its `\r\n`).
    pub async fn accept(mut self, headers: &str) -> io::Result<Session> {
        self.switch(headers).await?;
        Ok(Session::start(self.stream, self.request, self.number, self.trace))
    }

    /// The same, and leaves what comes then to [`Dial::read_to_end`].
    pub async fn switch(&mut self, headers: &str) -> io::Result<()> {
        let accept = self.key();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        );
        self.raw(answer.as_bytes()).await
    }

    /// Answers another status, with more headers, and ends the connection.
    pub async fn refuse(mut self, status: &str, headers: &str) -> io::Result<()> {
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n");
        self.raw(answer.as_bytes()).await?;
        self.stream.shutdown().await
    }

    /// Writes these bytes and nothing else.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let shown = String::from_utf8_lossy(bytes).trim_end().replace("\r\n", " | ");
        self.trace.note(From::Kit, self.number, &shown);
        self.raw_quietly(bytes).await
    }

    /// The same without a line for it.
    pub async fn raw_quietly(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads until the agent ends the connection; the bytes, or `None` where it did not in time.
    pub async fn read_to_end(&mut self, within: Duration) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let reading = async {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = self.stream.read(&mut buffer).await {
                bytes.extend(&buffer[..count]);
            }
        };
        let ended = timeout(within, reading).await.is_ok();
        let what = if ended { "ends the connection" } else { "(the connection stays)" };
        self.trace.note(From::Agent, self.number, what);
        ended.then_some(bytes)
    }

    /// Whether the agent has ended the connection, or does within this time.
    pub async fn is_at_end(&mut self, within: Duration) -> bool {
        let read = timeout(within, self.stream.read(&mut [0; 64])).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    fn key(&self) -> String {
        let key = self.request.header("Sec-WebSocket-Key");
        BASE64.encode(&Sha1::digest(format!("{key}{MAGIC}")))
    }
}
