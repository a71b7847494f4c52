//! A tunnel through an HTTP proxy: CONNECT and its answer.

use std::io::{ErrorKind, Read, Write};

use data_encoding::BASE64;
use ureq::Proxy;

use super::{Attempt, Error, Failure, Phase};
use crate::wire::transport::Wire;

const ANSWER_LIMIT: usize = 8 * 1024;

/// Has `proxy`, at the other end of `wire`, connect to `target` (`host:port`).
pub(super) fn open_tunnel(
    attempt: &Attempt,
    wire: &mut Wire,
    proxy: &Proxy,
    target: &str,
) -> Result<(), Error> {
    let failed = |reason: &str| {
        let reason = format!("{}:{}: {reason}; check HTTPS_PROXY", proxy.host(), proxy.port());
        Error::from(Failure::new(Phase::Proxy, reason))
    };
    // Smaller than any socket's buffer, so it goes out whole or not at all.
    wire.write_all(request(proxy, target).as_bytes())
        .map_err(|error| failed(&error.to_string()))?;
    let mut answer = Vec::new();
    attempt.until(attempt.deadline);
    loop {
        let mut byte = [0];
        // Byte by byte, so that nothing behind the answer is taken from the tunnel.
        match wire.read(&mut byte) {
            Ok(0) => return Err(failed("it hung up without an answer")),
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if attempt.woken()? {
                    return Err(failed("no answer in time"));
                }
                continue;
            }
            Err(error) => return Err(failed(&error.to_string())),
        }
        if answer.ends_with(b"\r\n\r\n") || answer.ends_with(b"\n\n") {
            break;
        }
        if answer.len() >= ANSWER_LIMIT {
            return Err(failed("its answer does not end; is it an HTTP proxy?"));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&answer).map(|_| response.code) {
        Ok(Some(200..=299)) => Ok(()),
        Ok(Some(407)) => Err(failed("it wants a user and a password, or others (407)")),
        Ok(Some(code)) => Err(failed(&format!("it does not connect to {target} ({code})"))),
        _ => Err(failed("its answer is not HTTP")),
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
