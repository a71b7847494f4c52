//! Which downloads go through the proxy, and the tunnel for them.
//!
//! The matching of NO_PROXY, the request and its answer are the WebSocket's, so ureq hears of no proxy.
//! ureq knows of no ranges and ports in NO_PROXY, and has the same words for all that a proxy refuses.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, Either, Transport, TransportAdapter,
};
use ureq::{Error, Proxy};

use crate::config::UpgradeConfig;
use crate::host::authority::{bare, join};
use crate::wire::dial::{Cause, ProxyFailure, Tunnel};

/// Which servers are reached through the proxy. As a connector, it opens the tunnel to them.
#[derive(Clone)]
pub struct Route(UpgradeConfig);

impl Route {
    pub fn new(config: &UpgradeConfig) -> Route {
        Route(config.clone())
    }

    /// The proxy that leads to `uri`. An http: URL has none: it is for our own loopback, which a proxy can't reach.
    pub fn proxy_to(&self, uri: &Uri) -> Option<&Proxy> {
        let (host, port) = target(uri);
        self.0.proxy_to(host, port).filter(|_| uri.scheme() == Some(&Scheme::HTTPS))
    }
}

/// The host, without brackets, and the port of an https: URL.
fn target(uri: &Uri) -> (&str, u16) {
    (bare(uri.host().unwrap_or_default()), uri.port_u16().unwrap_or(443))
}

impl<In: Transport> Connector<In> for Route {
    type Out = Either<In, Box<dyn Transport>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        let Some(proxy) = self.proxy_to(details.uri) else {
            return Ok(Some(Either::A(transport)));
        };
        let (host, port) = target(details.uri);
        let target = join(host, port);
        let transport: Box<dyn Transport> = Box::new(transport);
        let mut stream = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        stream.set_timeout(details.timeout);
        open_tunnel(&mut stream, Tunnel::to(&target, proxy), *details.timeout.after)
            .map_err(|cause| Error::ConnectProxyFailed(cause.to_string()))?;
        Ok(Some(Either::B(stream.into_inner())))
    }
}

fn open_tunnel(
    stream: &mut TransportAdapter,
    mut tunnel: Tunnel,
    patience: Duration,
) -> Result<(), Cause> {
    let why = |error: io::Error| match Error::from(error) {
        Error::Timeout(_) => ProxyFailure::NoAnswer,
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => ProxyFailure::HungUp,
        error => ProxyFailure::Socket(error.into_io()),
    };
    let began = Instant::now();
    stream.write_all(tunnel.request().as_bytes()).map_err(|error| tunnel.ended(why(error)))?;
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(tunnel.ended(ProxyFailure::HungUp)),
            Ok(_) if tunnel.take(byte[0])? => return Ok(()),
            // The stream's timeout does not count while bytes come.
            Ok(_) if began.elapsed() >= patience => {
                return Err(tunnel.ended(ProxyFailure::NoAnswer));
            }
            Ok(_) => {}
            Err(error) => return Err(tunnel.ended(why(error))),
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Route")
    }
}
