//! The gateway's URL: what is dialed, and what of it may be shown.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use tungstenite::http::Uri;
use tungstenite::http::uri::Authority;

use super::{DEFAULT_GATEWAY, Error, GATEWAY};

/// The endpoint that the agent dials.
#[derive(Clone, Debug)]
pub struct Gateway {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
}

impl Gateway {
    pub(super) fn check(text: &str) -> Result<Gateway, Error> {
        // The URL itself is not repeated: it may hold a password or a query.
        let refuse = |problem: &str| {
            let problem = format!("{problem}; it looks like {DEFAULT_GATEWAY}");
            Error::new(GATEWAY, problem)
        };
        let text = match text.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => text.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|error| refuse(&format!("not a URL: {error}")))?;
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(refuse("its scheme is not wss:")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        // A slash in a password has made a host and a port of what comes before it.
        let folder = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let is_rest_of_password = folder.contains('@') && authority.as_str().contains(':');
        if authority.as_str().contains('@') || is_rest_of_password {
            return Err(refuse("it holds a user or a password, which belong elsewhere"));
        }
        let (host, port) = split_authority(authority).map_err(refuse)?;
        if !tls && !is_loopback(&host) {
            return Err(refuse("ws: without TLS is for a loopback address only, use wss:"));
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Gateway { host, port, tls, uri })
    }

    /// Whether `text` is the URL of this very gateway.
    pub(super) fn is(&self, text: &str) -> bool {
        Gateway::check(text).is_ok_and(|other| other.uri == self.uri)
    }

    /// The name or address to connect to, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn tls(&self) -> bool {
        self.tls
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Gateway {
    /// Without the query, which is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", self.uri.path())
    }
}

/// The host, an IPv6 address without its brackets, and the port where one is given.
pub fn split_authority(authority: &Authority) -> Result<(String, Option<u16>), &'static str> {
    let text = authority.as_str().rsplit('@').next().unwrap_or_default();
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("its [ is not closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "what it has in [] is no IPv6 address")?;
            (host, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    let port = match rest.strip_prefix(':').map(str::parse) {
        None if rest.is_empty() => None,
        Some(Ok(port)) if port > 0 => Some(port),
        _ => return Err("its port is not a number from 1 to 65535"),
    };
    Ok((host.to_owned(), port))
}

pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
