//! The proxy for the WebSocket and for downloads.

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use super::error::Error;
use super::variables::{HTTPS_PROXY, NO_PROXY, Variables};
use crate::host::authority;

/// The proxy of HTTPS_PROXY, with the exceptions of NO_PROXY.
///
/// # Errors
/// What is wrong with HTTPS_PROXY; its value is not repeated.
pub(super) fn check(variables: &Variables) -> Result<Option<Proxy>, Error> {
    let Some(text) = variables.get_either_case(HTTPS_PROXY) else { return Ok(None) };
    // The URL itself is not repeated: it may hold a password.
    let refuse = |problem: &str| {
        Error::new(HTTPS_PROXY, format!("{problem}, for example http://proxy.example.com:3128"))
    };
    let parsed = Proxy::new(text).map_err(|_| refuse("must be a URL"))?;
    if parsed.protocol() != ProxyProtocol::Http {
        return Err(refuse("must start with http://"));
    }
    // ureq ignores a port that is not a number.
    let authority = parsed.uri().authority();
    authority.map(|it| authority::split(it.as_str())).transpose().map_err(refuse)?;
    if text.contains('@') && !authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("its password holds /, ? or #: write these as %2F, %3F, %23"));
    }
    let mut builder = Proxy::builder(ProxyProtocol::Http).host(parsed.host()).port(parsed.port());
    if let Some(username) = parsed.username() {
        builder = builder.username(username);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let exceptions = variables.get_either_case(NO_PROXY);
    for entry in exceptions.unwrap_or_default().split([',', ' ']).filter(|entry| !entry.is_empty())
    {
        builder = builder.no_proxy(entry);
        // A domain stands for the names below it too, as curl and most others read it.
        if entry.parse::<IpAddr>().is_err() && !entry.contains('*') && !entry.starts_with('.') {
            builder = builder.no_proxy(&format!(".{entry}"));
        }
    }
    builder.build().map(Some).map_err(|_| refuse("must be a URL"))
}
