//! From TCP to HTTP: who may connect, TLS, and the limits of every connection.

pub mod descriptors;
pub mod hosts;
pub mod places;
pub mod serve;
pub mod tls;

use std::fmt;
use std::net::SocketAddr;

/// The far end of a connection: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
