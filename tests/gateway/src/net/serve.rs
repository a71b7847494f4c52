//! From a TCP port to requests: accepts, does TLS aside, so that a peer that dawdles over its handshake
//! holds up nobody, and serves HTTP/1.1 with limits that axum's own server does not set.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower_service::Service;

use super::patience::Patient;
use super::places::{Place, Places};
use super::{OverTls, Peer};
use crate::output;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two words about too many connections.
const SILENCE: Duration = Duration::from_secs(10);
/// For a request's headers, also the first ones.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
const HEADERS: usize = 64;
/// Of a request's line and headers together.
const HEADER_BYTES: usize = 32 * 1024;

pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
}

impl Listener {
    /// `option` is the argument that gave the address, for the error.
    pub async fn bind(
        option: &str,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Listener, String> {
        let cannot = |error| format!("listening on {address}: {error}; see {option}");
        let socket = TcpListener::bind(address).await.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        Ok(Listener { socket, tls: tls.map(TlsAcceptor::from), address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For ever.
    pub async fn serve(self, router: Router, places: Arc<Places>) {
        let (mut refused, mut complained): (u64, Option<Instant>) = (0, None);
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one(&error) => continue,
                Err(error) => {
                    // Out of descriptors, most likely: some come back as sessions end.
                    output::event("accept_failed", json!({"reason": error.to_string()}));
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let Some(place) = places.take(peer.ip()) else {
                refused += 1;
                if complained.is_none_or(|at| at.elapsed() > SILENCE) {
                    tracing::warn!(refused, %peer, "too many connections");
                    (complained, refused) = (Some(Instant::now()), 0);
                }
                continue;
            };
            let (tls, router) = (self.tls.clone(), router.clone());
            tokio::spawn(greet(stream, Peer(peer), Arc::new(place), tls, router));
        }
    }
}

/// Only the one connection has failed, before it was taken.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};

    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn greet(
    stream: TcpStream,
    peer: Peer,
    place: Arc<Place>,
    tls: Option<TlsAcceptor>,
    router: Router,
) {
    // Without this a small answer waits 40 ms for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return answer(stream, peer, place, OverTls(false), router).await;
    };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, peer, place, OverTls(true), router).await,
        Ok(Err(error)) => refused(peer, &error.to_string()),
        Err(_) => refused(peer, "no TLS handshake within 10 s"),
    }
}

/// Until the connection ends, or is a WebSocket's: then whoever has that keeps the connection's place.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    place: Arc<Place>,
    over_tls: OverTls,
    router: Router,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        request.extensions_mut().insert(over_tls);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "the connection failed");
    }
}

fn refused(peer: Peer, reason: &str) {
    output::event("tls_failed", json!({"peer": peer.to_string(), "reason": reason}));
}
