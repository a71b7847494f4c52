//! How the download reaches its server: ureq's HTTP and proxies over connections of ours.
//!
//! ureq's own TLS can trust the bundled roots or others, not both, and its resolver starts a
//! thread where a timeout counts. So both are replaced: the trust is the WebSocket's, to the bit.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    TcpConnector, Transport, TransportAdapter,
};
use ureq::{Agent, Error, Proxy};

use super::story::Story;
use crate::config::UpgradeConfig;
use crate::host::version;

/// DNS's own limit aside: TCP, the proxy and TLS together.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may say nothing.
const STALL: Duration = Duration::from_secs(60);
/// How often a silent wait looks whether anybody still wants the download.
const SLICE: Duration = Duration::from_secs(1);
const INPUT: usize = 256 * 1024;
const OUTPUT: usize = 16 * 1024;

/// A client for one upgrade.
pub fn client(config: &UpgradeConfig, story: &Arc<Story>) -> Agent {
    let settings = Agent::config_builder()
        .proxy(config.proxy.clone())
        .user_agent(version::user_agent())
        .accept_encoding("identity")
        .http_status_as_error(false)
        // They are followed by hand, each being looked at first.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(STALL))
        .timeout_recv_response(Some(STALL))
        .input_buffer_size(INPUT)
        .output_buffer_size(OUTPUT)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(Patience(Arc::clone(story)))
            .chain(Trust(Arc::clone(&config.tls)));
    Agent::with_parts(settings, connector, Names)
}

/// Names to addresses, in this thread.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // Without a timeout ureq asks right here, and the C library has limits of its own.
        let found = DefaultResolver::default().resolve(uri, config, NextTimeout::default())?;
        let is_proxy = config.proxy().map(Proxy::uri) == Some(uri);
        if is_proxy || uri.scheme() != Some(&Scheme::HTTP) {
            return Ok(found);
        }
        // The URL's check vouched for the name, here the promise is kept.
        let mut loopback = self.empty();
        for address in found.iter().filter(|address| address.ip().is_loopback()) {
            loopback.push(*address);
        }
        if loopback.is_empty() { Err(Error::HostNotFound) } else { Ok(loopback) }
    }
}

/// Waits for a server in slices, and between them looks whether the upgrade is still wanted.
struct Patience(Arc<Story>);

struct PatientTransport<T> {
    transport: T,
    story: Arc<Story>,
}

impl<In: Transport> Connector<In> for Patience {
    type Out = PatientTransport<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let story = &self.0;
        Ok(chained.map(|transport| PatientTransport { transport, story: Arc::clone(story) }))
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
            // Also where something comes all the time: it may be a byte a second.
            self.story.still_wanted().map_err(Error::Io)?;
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

/// TLS where the URL asks for it.
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
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
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

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Patience")
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl<T: fmt::Debug> fmt::Debug for PatientTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&self.transport, f)
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}
