//! Where agents dial: a listener that takes every connection and keeps it until a check wants it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::trace::{From, Trace};

/// Connections that wait to be looked at. An agent has one at a time.
const WAITING: usize = 64;
/// Bytes that the kernel takes for the kit.
const RECEIVED: u32 = 64 * 1024;

/// A TCP connection that nobody has answered yet.
pub struct Connection {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub number: u32,
    pub at: Instant,
}

pub struct Listener {
    pub address: SocketAddr,
    connections: Receiver<Connection>,
}

impl Listener {
    pub async fn bind(address: SocketAddr, trace: Trace) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Small: an agent whose gateway does not read soon finds that it can't write.
        socket.set_recv_buffer_size(RECEIVED)?;
        socket.bind(address)?;
        let listener = socket.listen(64)?;
        let address = listener.local_addr()?;
        let (send, connections) = channel(WAITING);
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = send.closed() => return,
                    accepted = listener.accept() => {
                        // Out of descriptors: the check that waits says that nobody dialled.
                        let Ok((stream, peer)) = accepted else { continue };
                        let _ = stream.set_nodelay(true);
                        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                        trace.note(From::Agent, number, "dials");
                        let connection = Connection { stream, peer, number, at: Instant::now() };
                        if send.send(connection).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Listener { address, connections })
    }

    /// The next connection, also where it came earlier.
    pub async fn next(&mut self, within: Duration) -> Option<Connection> {
        timeout(within, self.connections.recv()).await.ok().flatten()
    }

    /// Ends the connections that nobody has looked at.
    pub fn clear(&mut self) {
        while self.connections.try_recv().is_ok() {}
    }
}
