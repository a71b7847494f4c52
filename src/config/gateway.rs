//! The gateway's URL: what is dialed, and which part of it may be shown.

use std::fmt;

use tungstenite::http::Uri;

use super::error::Error;
use super::variables::{DEFAULT_GATEWAY, GATEWAY_URL};
use crate::host::authority;

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
            Error::new(GATEWAY_URL, format!("{problem}, for example {DEFAULT_GATEWAY}"))
        };
        let text = match text.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => text.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|error| refuse(&format!("must be a URL ({error})")))?;
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(refuse("must start with wss://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("names no host"))?;
        // After a slash in a password, the parser takes what is before it for a host and a port.
        let folder = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let is_rest_of_password = folder.contains('@') && authority.as_str().contains(':');
        if authority.as_str().contains('@') || is_rest_of_password {
            return Err(refuse("must not hold a user or a password"));
        }
        let (host, port) = authority::split(authority.as_str()).map_err(refuse)?;
        if !tls && !authority::is_loopback(host) {
            return Err(refuse("ws:// is for a loopback address only; use wss://"));
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        // musl looks names up in /etc/hosts as they are written, and that file says `localhost`.
        // Other names stay as they are: a line for `Gateway` is found by `Gateway` alone.
        let is_loopback = authority::is_loopback(host);
        let host = if is_loopback { host.to_ascii_lowercase() } else { host.to_owned() };
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
        authority::join(&self.host, self.port)
    }
}

impl fmt::Display for Gateway {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", self.uri.path())
    }
}
