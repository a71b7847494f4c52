//! Why a dial failed: a typed cause for each phase. `words.rs` puts it into words.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::CertificateError;

use crate::config::TokenSource;
use crate::config::variables::HTTPS_PROXY;
use crate::host::timestamp::Timestamp;

pub enum Error {
    /// A signal asked the program to end.
    Stopped,
    Failed(Failure),
}

/// A dial that failed. Shown as one line for an operator: the phase, what failed, on what, what to
/// do next.
#[derive(Debug)]
pub struct Failure {
    pub cause: Box<Cause>,
    /// The gateway refuses the token.
    pub unauthorized: bool,
    /// The gateway asks not to be dialed earlier.
    pub retry_after: Option<Duration>,
    /// The gateway's clock, if it answered.
    pub date: Option<Timestamp>,
}

/// The phases of a dial, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Dns,
    Tcp,
    Proxy,
    Tls,
    Http,
}

/// The phase that failed, on what, and why. Shown without the phase's name.
#[derive(Debug)]
pub enum Cause {
    Dns {
        peer: Peer,
        servers: Vec<String>,
        why: Dns,
    },
    Tcp {
        peer: Peer,
        why: Tcp,
    },
    /// `proxy` is `host:port`.
    Proxy {
        proxy: String,
        why: Proxy,
    },
    /// `gateway` is `host:port`.
    Tls {
        gateway: String,
        why: Tls,
    },
    /// `gateway` is the URL, without its query.
    Http {
        gateway: String,
        why: Http,
    },
}

/// The other end of the socket: the gateway, or the proxy before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// The variable that names it.
    pub variable: &'static str,
}

#[derive(Debug)]
pub enum Dns {
    /// The resolver's process can't be started, or not be waited for.
    Resolver(io::Error),
    NoAnswer,
    NoSuchName,
    /// The name exists and has no address.
    NoAddress,
    /// Another failure, in the C library's words.
    Other(String),
}

#[derive(Debug)]
pub enum Tcp {
    /// `ws:` is for loopback addresses only, and the name has none.
    NoLoopback,
    /// Every address that was tried.
    Tried(Vec<(SocketAddr, Unreached)>),
}

/// Why one address of several was not reached.
#[derive(Debug)]
pub enum Unreached {
    /// It had its time.
    Silent,
    /// The dial's time was over before its own.
    OutOfTime,
    Error(io::Error),
}

#[derive(Debug)]
pub enum Proxy {
    NoAnswer,
    HungUp,
    Socket(io::Error),
    /// The answer has no end.
    Endless,
    NotHttp,
    /// The proxy wants a user and a password, or others.
    Credentials(u16),
    /// The proxy's access list forbids the connection.
    Forbidden {
        target: String,
    },
    /// The proxy itself can't connect.
    Unreachable {
        target: String,
        status: u16,
    },
    Refused {
        target: String,
        status: u16,
    },
}

#[derive(Debug)]
pub enum Tls {
    /// The host of the URL can't be the name in a certificate.
    ServerName,
    NoAnswer,
    HungUp,
    Socket(io::Error),
    Distrusted(rustls::Error),
}

/// Texts that the gateway sent are cut and hold no token.
#[derive(Debug)]
pub enum Http {
    NoAnswer,
    HungUp,
    Socket(io::Error),
    /// The answer has no end.
    Endless,
    Unreadable,
    /// An answer of 101, and why it opens no WebSocket.
    NotWebSocket(&'static str),
    /// The answer accepts an extension that was not asked for.
    Extension(String),
    /// The answer selects a subprotocol that was not asked for.
    Subprotocol(String),
    TokenRefused {
        status: u16,
        source: TokenSource,
    },
    NoEndpoint,
    Busy {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// The gateway is not there for those that stand before it.
    Away(u16),
    Redirected {
        status: u16,
        location: Option<String>,
    },
    /// 400, of a gateway that wanted a client certificate.
    NoCertificate,
    /// Any other status.
    Status(u16),
}

impl Failure {
    pub(super) fn new(cause: Cause) -> Failure {
        let (unauthorized, retry_after) = match &cause {
            Cause::Http { why: Http::TokenRefused { .. }, .. } => (true, None),
            Cause::Http { why: Http::Busy { retry_after, .. }, .. } => (false, *retry_after),
            _ => (false, None),
        };
        Failure { cause: Box::new(cause), unauthorized, retry_after, date: None }
    }

    /// The certificate's dates don't agree with this machine's clock.
    pub fn is_untimely(&self) -> bool {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        let Cause::Tls { why: Tls::Distrusted(error), .. } = &*self.cause else { return false };
        let rustls::Error::InvalidCertificate(reason) = error else { return false };
        matches!(reason, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    }
}

impl Cause {
    pub fn phase(&self) -> Phase {
        match self {
            Cause::Dns { .. } => Phase::Dns,
            Cause::Tcp { .. } => Phase::Tcp,
            Cause::Proxy { .. } => Phase::Proxy,
            Cause::Tls { .. } => Phase::Tls,
            Cause::Http { .. } => Phase::Http,
        }
    }

    /// The proxy failed, or could not be reached.
    pub fn is_proxys(&self) -> bool {
        match self {
            Cause::Dns { peer, .. } | Cause::Tcp { peer, .. } => peer.variable == HTTPS_PROXY,
            Cause::Proxy { .. } => true,
            Cause::Tls { .. } | Cause::Http { .. } => false,
        }
    }

    /// The gateway asks for patience, or is away: no configuration of this machine is the cause.
    pub fn is_passing(&self) -> bool {
        matches!(self, Cause::Http { why: Http::Busy { .. } | Http::Away(_), .. })
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

impl From<Cause> for Error {
    fn from(cause: Cause) -> Error {
        Error::Failed(Failure::new(cause))
    }
}
