//! The WebSocket's handshake: the upgrade request, its answer, and whether that opens a WebSocket.
//!
//! Not tungstenite's: that refuses an answer of HTTP/1.0 with all that it says, an interim answer
//! before the final one, and a `Connection` header that lists more than `Upgrade`.

use std::io::{ErrorKind, Read, Write};

use tungstenite::WebSocket;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use super::answer::{Answer, Malformed, SWITCHING_PROTOCOLS, parse};
use super::attempt::Attempt;
use super::failure::{Cause, Error, Failure, Http};
use super::refusal;
use crate::config::Config;
use crate::host::timestamp::Timestamp;
use crate::host::version;
use crate::wire::frames::Metered;
use crate::wire::limits;
use crate::wire::transport::Transport;

/// Asks for the WebSocket, with the token. Also returns the gateway's clock, if the answer has it.
pub(super) fn shake_hands(
    attempt: &Attempt,
    mut transport: Transport,
    config: &Config,
) -> Result<(WebSocket<Metered<Transport>>, Option<Timestamp>), Error> {
    let key = generate_key();
    let request = request(config, &key);
    let (answer, rest) = exchange(attempt, &mut transport, request.as_bytes(), config)?;
    let date = answer.header("Date").and_then(Timestamp::parse_http_date);
    let refused = match answer.status {
        SWITCHING_PROTOCOLS => not_a_websocket(&answer, &key, config),
        // nginx asks for a certificate in the handshake, and refuses only here.
        400 if transport.wanted_certificate() => Some(Http::NoCertificate),
        _ => Some(refusal::meaning(&answer, config)),
    };
    if let Some(why) = refused {
        return Err(Error::Failed(Failure { date, ..failure(config, why) }));
    }
    let stream = Metered::new(transport, rest);
    Ok((WebSocket::from_raw_socket(stream, Role::Client, Some(limits::websocket())), date))
}

fn failure(config: &Config, why: Http) -> Failure {
    Failure::new(Cause::Http { gateway: config.gateway.to_string(), why })
}

fn request(config: &Config, key: &str) -> String {
    let uri = config.gateway.uri();
    let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Authorization: {}\r\n\
         User-Agent: {}\r\n\r\n",
        uri.authority().map_or("", |authority| authority.as_str()),
        config.token.authorization(),
        version::user_agent(),
    )
}

/// Sends the request and reads the head of its answer. Also returns the bytes behind the head, which
/// are the WebSocket's.
fn exchange(
    attempt: &Attempt,
    transport: &mut Transport,
    mut request: &[u8],
    config: &Config,
) -> Result<(Answer, Vec<u8>), Error> {
    let failed = |why| Error::Failed(failure(config, why));
    let mut bytes = Vec::new();
    let mut piece = [0; 2048];
    attempt.until(attempt.deadline);
    loop {
        // A read that finds nothing also sends what TLS has not sent yet.
        write_some(transport, &mut request);
        let end = match transport.read(&mut piece) {
            Ok(0) => Some(Http::HungUp),
            Ok(count) => {
                bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                None
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => attempt.woken()?.then_some(Http::NoAnswer),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    Some(Http::HungUp)
                }
                _ => Some(Http::Socket(error)),
            },
        };
        match (parse(&bytes, end.is_some()), end) {
            (Ok(Some(answer)), _) => {
                let rest = bytes.split_off(answer.end.unwrap_or_default().min(bytes.len()));
                return Ok((answer, rest));
            }
            (Ok(None), None) => {}
            (Ok(None), Some(end)) => return Err(failed(end)),
            (Err(Malformed::NotHttp), _) => return Err(failed(Http::Unreadable)),
            (Err(Malformed::Endless), _) => return Err(failed(Http::Endless)),
        }
    }
}

/// Writes as much of the request as the socket takes; a read then sleeps until it takes more. A
/// gateway that has hung up may have said why before, so that is left to the read.
fn write_some(transport: &mut Transport, request: &mut &[u8]) {
    if request.is_empty() {
        return;
    }
    match transport.write(request) {
        Ok(count) => *request = request.get(count..).unwrap_or_default(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => *request = &[],
    }
    transport.expect_room(!request.is_empty());
}

/// Why a 101 opens no WebSocket that the agent has asked for (RFC 6455, section 4.1).
fn not_a_websocket(answer: &Answer, key: &str, config: &Config) -> Option<Http> {
    if !answer.lists("Upgrade", "websocket") {
        return Some(Http::NotWebSocket("no Upgrade: websocket"));
    }
    if !answer.lists("Connection", "Upgrade") {
        return Some(Http::NotWebSocket("no Connection: Upgrade"));
    }
    if answer.header("Sec-WebSocket-Accept") != Some(&derive_accept_key(key.as_bytes())) {
        return Some(Http::NotWebSocket("a wrong Sec-WebSocket-Accept"));
    }
    let first = |name| answer.list(name).next().map(|it| refusal::shown(it, config));
    let extension = first("Sec-WebSocket-Extensions").map(Http::Extension);
    extension.or_else(|| first("Sec-WebSocket-Protocol").map(Http::Subprotocol))
}
