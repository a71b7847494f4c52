//! The proxy for the WebSocket and for downloads.

use ureq::{Proxy, ProxyProtocol};

use super::error::Error;
use super::no_proxy::NoProxy;
use super::variables::{HTTPS_PROXY, NO_PROXY, Variables};
use crate::host::authority;

/// The exceptions of NO_PROXY.
pub(super) fn exceptions(variables: &Variables) -> NoProxy {
    NoProxy::parse(variables.get_either_case(NO_PROXY).unwrap_or_default())
}

/// The proxy of HTTPS_PROXY.
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
    Ok(Some(parsed))
}
