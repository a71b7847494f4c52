//! Where the agent under test downloads upgrades from: a small HTTP server on the loopback.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a file is served.
#[derive(Clone)]
pub enum Serve {
    Whole(Arc<Vec<u8>>),
    /// Over this time, in pieces. `bool`: whether its length is told.
    Slow(Arc<Vec<u8>>, Duration, bool),
    /// Never: the head, and then nothing.
    Never,
    Status(&'static str),
    Redirect(String),
}

#[derive(Clone)]
pub struct Downloads {
    pub address: SocketAddr,
    files: Arc<Mutex<HashMap<String, Serve>>>,
}

impl Downloads {
    pub async fn start() -> io::Result<Downloads> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let downloads = Downloads { address: listener.local_addr()?, files: Arc::default() };
        let shared = downloads.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let shared = shared.clone();
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Ok(downloads)
    }

    /// Offers a file; its URL, which no other file has.
    pub fn offer(&self, serve: Serve) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = format!("/{}/vmkit-agent", COUNT.fetch_add(1, Ordering::Relaxed));
        self.offer_at(&path, serve)
    }

    pub fn offer_at(&self, path: &str, serve: Serve) -> String {
        self.files.lock().insert(path.to_owned(), serve);
        format!("http://{}{path}", self.address)
    }

    /// The same server's URL of what stands beside the file at `url`.
    pub fn offer_beside(&self, url: &str, ending: &str, serve: Serve) {
        let path = url.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        self.offer_at(&format!("{}{ending}", path.unwrap_or("/")), serve);
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let serve = self.files.lock().get(path).cloned().unwrap_or(Serve::Status("404 Not Found"));
        let (status, headers, body, over) = match &serve {
            Serve::Whole(body) => ("200 OK", length(body), Some(body), Duration::ZERO),
            Serve::Slow(body, over, true) => ("200 OK", length(body), Some(body), *over),
            Serve::Slow(body, over, false) => ("200 OK", String::new(), Some(body), *over),
            Serve::Never => {
                ("200 OK", "Content-Length: 1000000\r\n".to_owned(), None, Duration::ZERO)
            }
            Serve::Status(status) => {
                (*status, "Content-Length: 0\r\n".to_owned(), None, Duration::ZERO)
            }
            Serve::Redirect(to) => (
                "302 Found",
                format!("Location: {to}\r\nContent-Length: 0\r\n"),
                None,
                Duration::ZERO,
            ),
        };
        let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if let Some(body) = body {
            let pieces = if over.is_zero() { 1 } else { 40 };
            for piece in body.chunks((body.len() / pieces).max(1)) {
                stream.write_all(piece).await?;
                tokio::time::sleep(over / pieces as u32).await;
            }
        }
        if matches!(serve, Serve::Never) {
            // Until the agent has enough of it.
            let _ = stream.read(&mut [0]).await;
        }
        stream.shutdown().await
    }
}

fn length(body: &[u8]) -> String {
    format!("Content-Length: {}\r\n", body.len())
}
