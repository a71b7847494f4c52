//! All phases of a dial in their order: DNS, TCP, a proxy where there is one, TLS and the WebSocket's
//! handshake.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tungstenite::WebSocket;

use super::attempt::{Attempt, Passed};
use super::failure::{Cause, Error, Peer, Tcp};
use super::handshake::shake_hands;
use super::proxy::open_tunnel;
use super::resolve::addresses;
use super::secure::secure;
use super::tcp::connect;
use crate::config::Config;
use crate::config::variables::{GATEWAY_URL, HTTPS_PROXY};
use crate::host::authority;
use crate::host::timestamp::Timestamp;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::wire::frames::Metered;
use crate::wire::transport::Transport;

/// A WebSocket that the gateway has accepted.
pub struct Dialed {
    pub websocket: WebSocket<Metered<Transport>>,
    /// The address that was connected to: the gateway's, or the proxy's.
    pub address: SocketAddr,
    /// The gateway's clock, if its answer had it.
    pub date: Option<Timestamp>,
}

/// A connection on which only the WebSocket's handshake is missing.
pub struct Reached {
    transport: Transport,
    address: SocketAddr,
}

/// Connects to the configured gateway.
///
/// # Errors
/// [`Error::Stopped`] after SIGTERM or SIGINT, else the phase that failed and why.
pub fn dial(
    config: &Config,
    waiter: &Rc<Waiter>,
    children: &Rc<Children>,
) -> Result<Dialed, Error> {
    let attempt = Attempt::new(waiter, children, &|_| {});
    let reached = reach(&attempt, config)?;
    ask(&attempt, reached, config)
}

/// All phases up to the last, which alone needs the token.
///
/// # Errors
/// As [`dial`].
pub fn reach(attempt: &Attempt, config: &Config) -> Result<Reached, Error> {
    let gateway = &config.gateway;
    let proxy = config.gateway_proxy();
    let (host, port, variable) = match proxy {
        Some(proxy) => (authority::bare(proxy.host()), proxy.port(), HTTPS_PROXY),
        None => (gateway.host(), gateway.port(), GATEWAY_URL),
    };
    let peer = Peer { host: host.to_owned(), port, variable };
    let mut addresses = addresses(attempt, &peer)?;
    if !gateway.tls() {
        // The URL's check took the name for a loopback address; here the resolver must agree.
        addresses.retain(IpAddr::is_loopback);
        if addresses.is_empty() {
            return Err(Cause::Tcp { peer, why: Tcp::NoLoopback }.into());
        }
    }
    (attempt.passed)(Passed::Dns { host: &peer.host, addresses: &addresses });
    let (mut wire, address) = connect(attempt, &peer, &addresses)?;
    (attempt.passed)(Passed::Tcp(address));
    if let Some(proxy) = proxy {
        open_tunnel(attempt, &mut wire, proxy, &gateway.authority())?;
        (attempt.passed)(Passed::Proxy(proxy));
    }
    let transport = match gateway.tls() {
        true => Transport::Tls(Box::new(secure(attempt, wire, config)?)),
        false => Transport::Plain(wire),
    };
    Ok(Reached { transport, address })
}

/// The last phase: the WebSocket's handshake.
///
/// # Errors
/// As [`dial`].
pub fn ask(attempt: &Attempt, reached: Reached, config: &Config) -> Result<Dialed, Error> {
    let Reached { transport, address } = reached;
    let (websocket, date) = shake_hands(attempt, transport, config)?;
    Ok(Dialed { websocket, address, date })
}
