//! The authority of a URL, `user:password@host:port`, taken apart and put together. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// `authority` without the user and the password.
pub fn without_user(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or_default()
}

/// `host` without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The host, an IPv6 address without its brackets, and the port if there is one. A user and a
/// password are ignored.
///
/// # Errors
/// What is wrong, to be continued with what would be right.
pub fn split(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let text = without_user(authority);
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("has a [ without a ]")?;
            host.parse::<Ipv6Addr>().map_err(|_| "must have an IPv6 address between [ and ]")?;
            (host, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.is_empty() {
        return Err("names no host");
    }
    let port = match rest.strip_prefix(':').map(str::parse) {
        None if rest.is_empty() => None,
        Some(Ok(port)) if port > 0 => Some(port),
        _ => return Err("must have a port from 1 to 65535"),
    };
    Ok((host, port))
}

/// `host:port`, an IPv6 address in brackets.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether `host`, without brackets, is this machine: `localhost` or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_apart_and_put_together() {
        for (text, host, port) in [
            ("h", "h", None),
            ("h:1", "h", Some(1)),
            ("u:p@h:65535", "h", Some(65535)),
            ("u@x:p@h", "h", None),
            ("[::1]", "::1", None),
            ("u@[2001:db8::1]:8443", "2001:db8::1", Some(8443)),
        ] {
            assert_eq!(split(text), Ok((host, port)), "{text}");
            if let Some(port) = port {
                assert_eq!(join(host, port), without_user(text));
            }
        }
        for wrong in ["", ":1", "u@", "h:", "h:0", "h:65536", "h:x", "[::1", "[h]", "[::1]1"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
        assert_eq!([bare("[::1]"), bare("::1"), bare("h"), bare("[h")], ["::1", "::1", "h", "[h"]);
    }

    #[test]
    fn this_machine_is_localhost_and_the_loopback_addresses() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "::2", "127.0.0.1.example", "[::1]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
