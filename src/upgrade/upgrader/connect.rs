//! How the download reaches its server: ureq's HTTP over our resolver, our tunnel (`route.rs`) and our
//! TLS.
//!
//! ureq's own TLS trusts either the bundled roots or others, not both. Its resolver starts a thread
//! where a timeout counts. The TLS settings here are the WebSocket's.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::http::uri::Scheme;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};
use ureq::{Agent, Body, Error, Proxy};

use super::reporter::Reporter;
use super::route::Route;
use crate::config::UpgradeConfig;
use crate::host::authority::{bare, is_loopback};
use crate::host::version;

/// How long TCP, the proxy and TLS may take together. DNS has a limit of its own.
pub const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may send nothing.
pub const STALL: Duration = Duration::from_secs(60);
/// How often a wait for a silent server asks whether the download is still wanted.
const SLICE: Duration = Duration::from_secs(1);
/// The sizes of ureq's buffers, in bytes.
const INPUT: usize = 256 * 1024;
const OUTPUT: usize = 16 * 1024;

/// The HTTP client for one upgrade.
pub struct Client {
    agent: Agent,
    route: Route,
}

impl Client {
    pub fn new(config: &UpgradeConfig, reporter: &Arc<Reporter>) -> Client {
        let route = Route::new(config);
        let connector =
            ().chain(TcpConnector::default())
                .chain(Patience(Arc::clone(reporter)))
                .chain(route.clone())
                .chain(Trust(Arc::clone(&config.tls)));
        let names = Names { route: route.clone(), reporter: Arc::clone(reporter) };
        Client { agent: Agent::with_parts(settings(), connector, names), route }
    }

    /// The answer to a GET, whatever its status. The body is still to be read.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, uri: &Uri) -> Result<Response<Body>, Error> {
        self.agent.get(uri).call()
    }

    /// The proxy that leads to `uri`.
    pub fn proxy_to(&self, uri: &Uri) -> Option<&Proxy> {
        self.route.proxy_to(uri)
    }
}

fn settings() -> ureq::config::Config {
    Agent::config_builder()
        .proxy(None)
        .user_agent(version::user_agent())
        .accept_encoding("identity")
        .http_status_as_error(false)
        // `fetch` follows redirects itself, and says why.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(STALL))
        .timeout_recv_response(Some(STALL))
        .input_buffer_size(INPUT)
        .output_buffer_size(OUTPUT)
        .build()
}

/// Whether an address is on the Internet, where anybody can reach it.
///
/// A gateway under an attacker's control could have the agent try one URL after another. The
/// reasons of the failures would tell it which ports are open on this machine, in its network or
/// at the cloud's metadata service. So the gateway hears a reason only if every address of the
/// download, those of redirects included, is public. A name counts by its addresses: the owner of a
/// domain can point it at 127.0.0.1. The price: with a mirror in a private network, the reasons are
/// in the agent's log only. Behind a proxy the agent does not know the addresses; the proxy's own
/// rules decide what can be reached.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            let is_inside = v4.is_loopback() || v4.is_private() || v4.is_link_local();
            !(is_inside || is_shared || first == 0 || first >= 224)
        }
        IpAddr::V6(v6) => match v6.octets() {
            // The IPv4 address behind a NAT64.
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, v4 @ ..] => is_public(v4.into()),
            // Public addresses are in 2000::/3.
            [first, ..] => first & 0xe0 == 0x20,
        },
    }
}

/// Whether the host of `uri` is an address that is not public, or a name of loopback.
pub fn names_inside(uri: &Uri) -> bool {
    let host = bare(uri.host().unwrap_or_default());
    is_loopback(host) || host.parse().is_ok_and(|address| !is_public(address))
}

/// Resolves names in this thread, that of the proxy where one is on the way, and notes whether the
/// addresses of servers are public.
struct Names {
    route: Route,
    reporter: Arc<Reporter>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let proxy = self.route.proxy_to(uri);
        // Without a timeout ureq starts no thread. The C library has time limits of its own.
        let found = DefaultResolver::default().resolve(
            proxy.map_or(uri, Proxy::uri),
            config,
            NextTimeout::default(),
        )?;
        let is_proxy = proxy.is_some();
        if !is_proxy && !found.iter().all(|address| is_public(address.ip())) {
            self.reporter.leads_inside();
        }
        if is_proxy || uri.scheme() != Some(&Scheme::HTTP) {
            return Ok(found);
        }
        // http: is for loopback only. The URL's check saw the name, not its addresses.
        let mut loopback = self.empty();
        for address in found.iter().filter(|address| address.ip().is_loopback()) {
            loopback.push(*address);
        }
        if loopback.is_empty() { Err(Error::HostNotFound) } else { Ok(loopback) }
    }
}

/// Waits for a server in slices, and asks after each whether the upgrade is still wanted.
struct Patience(Arc<Reporter>);

struct PatientTransport<T> {
    transport: T,
    reporter: Arc<Reporter>,
}

impl<In: Transport> Connector<In> for Patience {
    type Out = PatientTransport<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let reporter = &self.0;
        Ok(chained.map(|transport| PatientTransport { transport, reporter: Arc::clone(reporter) }))
    }
}

impl<T: Transport> Transport for PatientTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut left = (*timeout.after).min(STALL);
        loop {
            // Asked also while bytes come: a server may send one byte a second for hours.
            self.reporter.still_wanted().map_err(|error| io::Error::other(error.to_string()))?;
            let slice = left.min(SLICE);
            let brief = NextTimeout { after: UreqDuration::Exact(slice), ..timeout };
            match self.transport.await_input(brief) {
                Err(Error::Timeout(_)) if left > slice => left -= slice,
                over => return over,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

/// TLS for https: URLs.
struct Trust(Arc<ClientConfig>);

struct TlsTransport {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl<In: Transport> Connector<In> for Trust {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = bare(details.uri.host().unwrap_or_default());
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let transport: Box<dyn Transport> = Box::new(transport);
        let mut socket = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let stream = StreamOwned::new(connection, socket);
        Ok(Some(Either::B(TlsTransport { stream, buffers: LazyBuffers::new(INPUT, OUTPUT) })))
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        Ok(io::Write::write_all(&mut self.stream, &self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let count = io::Read::read(&mut self.stream, self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// ureq's traits ask for `Debug`.
macro_rules! show_the_name {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

show_the_name!(Names Patience Trust TlsTransport);

impl<T: fmt::Debug> fmt::Debug for PatientTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&self.transport, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_inside_and_public_ones_are_not() {
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[::ffff:10.0.0.1]",
            "[ff02::1]",
            "[64:ff9b::a00:1]",
            "localhost",
        ] {
            assert!(
                names_inside(&format!("https://u:p@{inside}:1/f").parse().unwrap()),
                "{inside}"
            );
        }
        for outside in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "[2606:4700::1]",
            "[64:ff9b::808:808]",
            "[::ffff:8.8.8.8]",
            "h.test",
        ] {
            assert!(!names_inside(&format!("https://{outside}/f").parse().unwrap()), "{outside}");
        }
    }
}
