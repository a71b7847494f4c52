//! From TCP to HTTP: who may connect, TLS, and the limits of every connection.

pub mod descriptors;
pub mod hosts;
mod patience;
pub mod places;
pub mod serve;
pub mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What counts as one address: whoever has an IPv6 address has all of its /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// The far end of a connection: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Whether the request came by TLS: an extension of every request too.
#[derive(Clone, Copy, Debug)]
pub struct OverTls(pub bool);

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
