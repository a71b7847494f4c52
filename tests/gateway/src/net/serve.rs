//! From a TCP port to streams that speak HTTP: accepts, and does TLS aside, so that a peer that
//! dawdles over its handshake holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::output;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Listener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Stream, SocketAddr)>,
}

/// Plain or TLS: what lies above need not know.
pub type Stream = Box<dyn Bytes>;
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// The far end of a connection, for handlers to extract.
#[derive(Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Listener {
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Listener, String> {
        let cannot = |error| format!("listening on {address}: {error}; see --listen");
        let socket = TcpListener::bind(address).await.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let (sender, ready) = mpsc::channel(16);
        tokio::spawn(accept(socket, tls.map(TlsAcceptor::from), sender));
        Ok(Listener { address, ready })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

async fn accept(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    ready: mpsc::Sender<(Stream, SocketAddr)>,
) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(greet(stream, peer, tls.clone(), ready.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: some come back as sessions end.
                output::event("accept_failed", json!({"reason": error.to_string()}));
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    ready: mpsc::Sender<(Stream, SocketAddr)>,
) {
    // Without this a small answer waits 40 ms for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let stream: Stream = match tls {
        None => Box::new(stream),
        Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => return refused(peer, &error.to_string()),
            Err(_) => return refused(peer, "no TLS handshake within 10 s"),
        },
    };
    let _ = ready.send((stream, peer)).await;
}

fn refused(peer: SocketAddr, reason: &str) {
    output::event("tls_failed", json!({"peer": peer.to_string(), "reason": reason}));
}
