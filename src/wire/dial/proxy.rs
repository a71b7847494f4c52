//! A tunnel through an HTTP proxy: CONNECT and its answer, for the dial and for downloads.

use std::io::{ErrorKind, Read, Write};

use data_encoding::BASE64;
use ureq::Proxy;

use super::answer::{LIMIT, Malformed, parse};
use super::attempt::Attempt;
use super::failure::{Cause, Error, Proxy as Why};
use crate::wire::transport::Wire;

/// A tunnel that a proxy is asked for. Pure: the bytes are the caller's.
pub struct Tunnel<'a> {
    proxy: &'a Proxy,
    /// `host:port`, an IPv6 address in brackets.
    target: &'a str,
    answer: Vec<u8>,
}

/// Has `proxy`, at the other end of `wire`, connect to `target`.
pub(super) fn open_tunnel(
    attempt: &Attempt,
    wire: &mut Wire,
    proxy: &Proxy,
    target: &str,
) -> Result<(), Error> {
    let mut tunnel = Tunnel::to(target, proxy);
    // Smaller than any socket's buffer, so it goes out whole or not at all.
    wire.write_all(tunnel.request().as_bytes())
        .map_err(|error| tunnel.ended(Why::Socket(error)))?;
    attempt.until(attempt.deadline);
    loop {
        let mut byte = [0];
        let end = match wire.read(&mut byte) {
            Ok(0) => Why::HungUp,
            Ok(_) => match tunnel.take(byte[0])? {
                true => return Ok(()),
                false => continue,
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => match attempt.woken()? {
                true => Why::NoAnswer,
                false => continue,
            },
            Err(error) => Why::Socket(error),
        };
        return Err(tunnel.ended(end).into());
    }
}

impl<'a> Tunnel<'a> {
    pub fn to(target: &'a str, proxy: &'a Proxy) -> Tunnel<'a> {
        Tunnel { proxy, target, answer: Vec::new() }
    }

    /// What to send to the proxy.
    pub fn request(&self) -> String {
        let Tunnel { proxy, target, .. } = self;
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(username) = proxy.username() {
            let credentials = format!("{username}:{}", proxy.password().unwrap_or_default());
            let credentials = BASE64.encode(credentials.as_bytes());
            request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
        }
        request.push_str("\r\n");
        request
    }

    /// Takes the next byte of the answer; true once the tunnel is open. Byte by byte, so that what is
    /// behind the answer is left to the tunnel's user.
    ///
    /// # Errors
    /// Why there will be no tunnel.
    pub fn take(&mut self, byte: u8) -> Result<bool, Cause> {
        self.answer.push(byte);
        if byte != b'\n' && self.answer.len() < LIMIT {
            return Ok(false);
        }
        match parse(&self.answer, false) {
            Ok(None) => Ok(false),
            Ok(Some(answer)) => match (answer.status, answer.end) {
                (200..=299, Some(_)) => Ok(true),
                (200..=299, None) => Err(self.failed(Why::NotHttp)),
                (status, _) => Err(self.refused(status)),
            },
            Err(Malformed::NotHttp) => Err(self.failed(Why::NotHttp)),
            Err(Malformed::Endless) => Err(self.failed(Why::Endless)),
        }
    }

    /// The failure where no more of the answer comes, for this reason. A status that has arrived says
    /// more than the reason.
    pub fn ended(&self, why: Why) -> Cause {
        match parse(&self.answer, true) {
            Ok(Some(answer)) if !matches!(answer.status, 200..=299) => self.refused(answer.status),
            _ => self.failed(why),
        }
    }

    fn refused(&self, status: u16) -> Cause {
        let target = self.target.to_owned();
        self.failed(match status {
            401 | 407 => Why::Credentials(status),
            403 => Why::Forbidden { target },
            500..=599 => Why::Unreachable { target, status },
            _ => Why::Refused { target, status },
        })
    }

    fn failed(&self, why: Why) -> Cause {
        Cause::Proxy { proxy: format!("{}:{}", self.proxy.host(), self.proxy.port()), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy::new("http://user:p%40ss@proxy:3128").unwrap()
    }

    /// What comes of the proxy's answer, and how many of its bytes were taken.
    fn outcome(answer: &str) -> (Result<bool, String>, usize) {
        let proxy = proxy();
        let mut tunnel = Tunnel::to("gateway.test:443", &proxy);
        for (index, byte) in answer.bytes().enumerate() {
            match tunnel.take(byte) {
                Ok(false) => {}
                over => return (over.map_err(|cause| cause.to_string()), index + 1),
            }
        }
        (Ok(false), answer.len())
    }

    #[test]
    fn credentials_are_decoded_from_the_url_and_encoded_for_the_header() {
        let proxy = proxy();
        let request = Tunnel::to("gateway.vmkit.dev:443", &proxy).request();
        assert!(request.starts_with(
            "CONNECT gateway.vmkit.dev:443 HTTP/1.1\r\nHost: gateway.vmkit.dev:443\r\n"
        ));
        assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_tunnel_is_open_at_the_end_of_the_head_and_nothing_behind_it_is_taken() {
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert_eq!(outcome(&format!("{head}\x16\x03")), (Ok(true), head.len()), "{head}");
        }
    }

    #[test]
    fn refusals_say_where_to_look() {
        for (answer, words) in [
            ("HTTP/1.0 401 Unauthorized", "rejects those given (401); check HTTPS_PROXY"),
            ("HTTP/1.1 407 x", "rejects those given (407); check HTTPS_PROXY"),
            ("HTTP/1.0 403 Access violation", "(403); its access list must allow"),
            ("HTTP/1.0 500 Unable to connect", "(500); check that address, and the proxy's log"),
            ("HTTP/1.1 503 x", "could not connect to gateway.test:443 (503)"),
            ("HTTP/1.1 405 x", "does not connect to gateway.test:443 (405); check HTTPS_PROXY"),
            ("SSH-2.0-x", "sent an answer that is not HTTP; check HTTPS_PROXY"),
        ] {
            let said = outcome(&format!("{answer}\r\n\r\n")).0.unwrap_err();
            assert!(said.starts_with("proxy:3128: the proxy ") && said.contains(words), "{said}");
        }
        let endless = outcome(&"x".repeat(LIMIT)).0.unwrap_err();
        assert!(endless.contains("not HTTP"), "{endless}");
        let endless = outcome(&"HTTP/1.1 100 x\r\n\r\n".repeat(LIMIT)).0.unwrap_err();
        assert!(endless.contains("without an end"), "{endless}");
        let endless = format!("HTTP/1.1 200 x\r\nA: {}", "x".repeat(LIMIT));
        assert!(outcome(&endless).0.is_err());
    }

    #[test]
    fn a_status_says_more_than_the_end_that_follows_it() {
        let proxy = proxy();
        let mut tunnel = Tunnel::to("gateway.test:443", &proxy);
        assert!(tunnel.ended(Why::HungUp).to_string().contains("without an answer"));
        for byte in *b"HTTP/1.1 407 Proxy" {
            assert!(matches!(tunnel.take(byte), Ok(false)));
        }
        assert!(tunnel.ended(Why::HungUp).to_string().contains("(407)"));
    }
}
