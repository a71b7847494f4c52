//! A tunnel through an HTTP proxy: CONNECT and its answer.

use std::io::{ErrorKind, Read, Write};

use data_encoding::BASE64;
use ureq::Proxy;

use super::attempt::Attempt;
use super::failure::{Cause, Error, Proxy as Why};
use crate::wire::transport::Wire;

const ANSWER_LIMIT: usize = 8 * 1024;

/// Has `proxy`, at the other end of `wire`, connect to `target` (`host:port`).
pub(super) fn open_tunnel(
    attempt: &Attempt,
    wire: &mut Wire,
    proxy: &Proxy,
    target: &str,
) -> Result<(), Error> {
    let failed = |why| {
        Error::from(Cause::Proxy { proxy: format!("{}:{}", proxy.host(), proxy.port()), why })
    };
    // Smaller than any socket's buffer, so it goes out whole or not at all.
    wire.write_all(request(proxy, target).as_bytes())
        .map_err(|error| failed(Why::Socket(error)))?;
    let mut answer = Vec::new();
    attempt.until(attempt.deadline);
    loop {
        let mut byte = [0];
        // Byte by byte, so that nothing behind the answer is taken from the tunnel.
        match wire.read(&mut byte) {
            Ok(0) => return Err(failed(Why::HungUp)),
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if attempt.woken()? {
                    return Err(failed(Why::NoAnswer));
                }
                continue;
            }
            Err(error) => return Err(failed(Why::Socket(error))),
        }
        if answer.ends_with(b"\r\n\r\n") || answer.ends_with(b"\n\n") {
            break;
        }
        if answer.len() >= ANSWER_LIMIT {
            return Err(failed(Why::Endless));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&answer).map(|_| response.code) {
        Ok(Some(200..=299)) => Ok(()),
        Ok(Some(407)) => Err(failed(Why::Credentials)),
        Ok(Some(status)) => Err(failed(Why::Refused { target: target.to_owned(), status })),
        _ => Err(failed(Why::NotHttp)),
    }
}

fn request(proxy: &Proxy, target: &str) -> String {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(username) = proxy.username() {
        let credentials = format!("{username}:{}", proxy.password().unwrap_or_default());
        let credentials = BASE64.encode(credentials.as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_from_the_url_and_encoded_for_the_header() {
        let proxy = Proxy::new("http://user:p%40ss@proxy:3128").unwrap();
        let request = request(&proxy, "gateway.vmkit.dev:443");
        assert!(request.starts_with(
            "CONNECT gateway.vmkit.dev:443 HTTP/1.1\r\nHost: gateway.vmkit.dev:443\r\n"
        ));
        assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
    }
}
