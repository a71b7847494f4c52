//! From a configuration to a WebSocket: DNS, TCP, a proxy where there is one, TLS and the upgrade
//! request, all under one deadline. Every failure names its phase and what to do.
//!
//! Reads top to bottom like blocking code. Each wait is the waiter's, so a signal ends it at once;
//! children other than the resolver wait until the dial is over.

mod connect;
mod proxy;
mod resolve;
mod upgrade;

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection};
use tungstenite::WebSocket;
use ureq::Proxy;

use crate::config::Config;
use crate::host::timestamp::Timestamp;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::wire::frames::Metered;
use crate::wire::tls::Distrust;
use crate::wire::transport::{Tls, Transport, Wire};

pub use resolve::print_addresses;

/// All phases together.
const BUDGET: Duration = Duration::from_secs(20);

/// A WebSocket that the gateway has accepted, and the address that was connected to.
pub struct Dialed {
    pub websocket: WebSocket<Metered<Transport>>,
    pub address: SocketAddr,
    /// The gateway's clock, where its answer had it.
    pub date: Option<Timestamp>,
}

/// All but the last phase done: what the upgrade request goes out on.
pub struct Reached {
    transport: Transport,
    address: SocketAddr,
}

pub enum Error {
    /// A signal asked the program to end.
    Stopped,
    Failed(Failure),
}

/// Why an attempt came to nothing: one line that an operator can act on.
pub struct Failure {
    pub phase: Phase,
    pub reason: String,
    /// The gateway does not take the token.
    pub unauthorized: bool,
    /// When the gateway wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The certificate's dates don't agree with this machine's clock.
    pub untimely: bool,
    /// The gateway's clock, where it answered.
    pub date: Option<Timestamp>,
}

/// A phase that an attempt has left behind, and what it has found.
pub enum Passed<'a> {
    Dns {
        host: &'a str,
        addresses: &'a [IpAddr],
    },
    Tcp(SocketAddr),
    Proxy(&'a Proxy),
    /// The protocol's version.
    Tls(&'static str),
}

/// How far an attempt got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Dns,
    Tcp,
    Proxy,
    Tls,
    Http,
}

/// Whom the socket is for: the gateway, or the proxy before it.
struct Peer<'a> {
    host: &'a str,
    port: u16,
    /// Where its name is configured.
    variable: &'static str,
}

/// What every phase needs: the sleep, the deadline, the door for the resolver's process, and whom
/// to tell once it is over.
pub struct Attempt<'a> {
    waiter: &'a Rc<Waiter>,
    children: &'a Rc<Children>,
    deadline: Instant,
    passed: &'a dyn Fn(Passed),
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

/// All phases up to the one that needs the token.
///
/// # Errors
/// As [`dial`].
pub fn reach(attempt: &Attempt, config: &Config) -> Result<Reached, Error> {
    let gateway = &config.gateway;
    let proxy = config.gateway_proxy();
    let peer = match proxy {
        Some(proxy) => Peer {
            host: proxy.host().trim_start_matches('[').trim_end_matches(']'),
            port: proxy.port(),
            variable: "HTTPS_PROXY",
        },
        None => Peer { host: gateway.host(), port: gateway.port(), variable: "VMKIT_GATEWAY_URL" },
    };
    let mut addresses = resolve::addresses(attempt, &peer)?;
    if !gateway.tls() {
        // The configuration vouched for the name, the resolver has to keep the promise.
        addresses.retain(IpAddr::is_loopback);
    }
    (attempt.passed)(Passed::Dns { host: peer.host, addresses: &addresses });
    let (mut wire, address) = connect::connect(attempt, &peer, &addresses)?;
    (attempt.passed)(Passed::Tcp(address));
    if let Some(proxy) = proxy {
        proxy::open_tunnel(attempt, &mut wire, proxy, &gateway.authority())?;
        (attempt.passed)(Passed::Proxy(proxy));
    }
    let transport = match gateway.tls() {
        true => Transport::Tls(Box::new(secure(attempt, wire, config)?)),
        false => Transport::Plain(wire),
    };
    Ok(Reached { transport, address })
}

/// The last phase: the upgrade request.
///
/// # Errors
/// As [`dial`].
pub fn ask(attempt: &Attempt, reached: Reached, config: &Config) -> Result<Dialed, Error> {
    let Reached { transport, address } = reached;
    let (websocket, date) = upgrade::upgrade(attempt, transport, config)?;
    Ok(Dialed { websocket, address, date })
}

/// The TLS handshake.
fn secure(attempt: &Attempt, wire: Wire, config: &Config) -> Result<Tls, Error> {
    let host = config.gateway.host();
    let failed = |reason: &dyn fmt::Display| {
        Failure::new(Phase::Tls, format!("{}: {reason}", config.gateway.authority()))
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| failed(&"no valid server name; check VMKIT_GATEWAY_URL"))?;
    let connection = ClientConnection::new(config.tls.clone(), name)
        .map_err(|error| failed(&distrust(&error)))?;
    let mut tls = Tls::new(wire, connection);
    attempt.until(attempt.deadline);
    loop {
        match tls.shake_hands() {
            Ok(true) => {
                (attempt.passed)(Passed::Tls(tls.version()));
                return Ok(tls);
            }
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if attempt.woken()? {
                    return Err(failed(&"the gateway did not finish the handshake in time").into());
                }
            }
            Err(error) => {
                let reason = error.get_ref().and_then(|inner| inner.downcast_ref());
                return Err(match reason {
                    Some(reason) => {
                        Failure { untimely: is_untimely(reason), ..failed(&distrust(reason)) }
                    }
                    None if error.kind() == ErrorKind::UnexpectedEof => {
                        failed(&"the connection ended during the handshake; is there a TLS server on that port?")
                    }
                    None => failed(&error),
                }
                .into());
            }
        }
    }
}

fn distrust(error: &rustls::Error) -> Distrust<'_> {
    Distrust { error, named_by: "VMKIT_GATEWAY_URL" }
}

fn is_untimely(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let rustls::Error::InvalidCertificate(reason) = error else { return false };
    matches!(reason, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

impl<'a> Attempt<'a> {
    /// One that begins now. `passed` hears of each phase but the last.
    pub fn new(
        waiter: &'a Rc<Waiter>,
        children: &'a Rc<Children>,
        passed: &'a dyn Fn(Passed),
    ) -> Attempt<'a> {
        Attempt { waiter, children, deadline: Instant::now() + BUDGET, passed }
    }

    /// Sets how long the waits to come may last; never past the deadline of the whole attempt.
    fn until(&self, end: Instant) {
        self.waiter.set_deadline(Some(end.min(self.deadline)));
    }

    /// To be asked after every wake-up: whether the attempt's time is over.
    fn woken(&self) -> Result<bool, Error> {
        self.children.reap();
        if self.waiter.stopping() {
            return Err(Error::Stopped);
        }
        Ok(Instant::now() >= self.deadline)
    }
}

impl Failure {
    fn new(phase: Phase, reason: String) -> Failure {
        Failure {
            phase,
            reason,
            unauthorized: false,
            retry_after: None,
            untimely: false,
            date: None,
        }
    }
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Tcp => "tcp",
            Phase::Proxy => "proxy",
            Phase::Tls => "tls",
            Phase::Http => "http",
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.phase.name(), self.reason)
    }
}
