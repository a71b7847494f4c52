//! The names by which this gateway may be called. A page of another web site can make its own name lead
//! to this machine (DNS rebinding); then the browser takes the gateway for a part of that site. It still
//! says the site's name in `Host`.

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName};

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Clone, Debug)]
pub struct Hosts(Vec<String>);

#[derive(Debug, PartialEq)]
pub enum Stranger {
    /// `Host` is missing, is there twice, or can't be read.
    NoHost,
    Host(String),
    /// The request comes from a page of another site.
    Origin,
}

impl Hosts {
    /// These, and those of the loopback.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a String>) -> Hosts {
        let names = names.into_iter().map(String::as_str).chain(LOOPBACK);
        Hosts(names.map(plain).collect())
    }

    /// By any of these names, at any port; from no page but the gateway's own.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let host: Authority = only(headers, &HOST)
            .and_then(|host| host?.parse().ok())
            .filter(|host: &Authority| !host.as_str().contains('@'))
            .ok_or(Stranger::NoHost)?;
        if !self.0.contains(&plain(host.host())) {
            return Err(Stranger::Host(host.host().to_owned()));
        }
        let origin = only(headers, &ORIGIN).ok_or(Stranger::Origin)?;
        let own = |origin: &str| {
            let authority = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
        };
        origin.is_none_or(own).then_some(()).ok_or(Stranger::Origin)
    }
}

/// An IPv6 address without its brackets.
fn plain(name: &str) -> String {
    name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// `None`: it is there twice, or is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(HeaderName, &str)]) -> Result<(), Stranger> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        Hosts::new(&["gw.example.com".to_owned()]).check(&map)
    }

    #[test]
    fn its_own_names_at_any_port() {
        for host in ["localhost", "127.0.0.1:8443", "[::1]:1", "GW.example.com", "[::1]"] {
            assert_eq!(check(&[(HOST, host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.2", "[::2]:1"] {
            let stranger = check(&[(HOST, host)]);
            assert!(matches!(stranger, Err(Stranger::Host(_))), "{host}: {stranger:?}");
        }
        for host in ["", "a b", "evil@localhost", "localhost:1:1"] {
            assert_eq!(check(&[(HOST, host)]), Err(Stranger::NoHost), "{host}");
        }
        assert_eq!(check(&[]), Err(Stranger::NoHost));
        assert_eq!(check(&[(HOST, "localhost"), (HOST, "localhost")]), Err(Stranger::NoHost));
    }

    #[test]
    fn no_page_but_its_own() {
        let from = |origin| check(&[(HOST, "localhost:8443"), (ORIGIN, origin)]);
        assert_eq!(from("https://localhost:8443"), Ok(()));
        for origin in ["https://localhost", "http://localhost:1", "null", "https://evil.example"] {
            assert_eq!(from(origin), Err(Stranger::Origin), "{origin}");
        }
    }
}
