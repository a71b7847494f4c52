//! The WebSocket's handshake: the upgrade request, and what its answer means.

use std::time::Duration;

use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::http::header::{
    AUTHORIZATION, DATE, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS, USER_AGENT,
};
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode};
use tungstenite::{Error as WsError, WebSocket};

use super::attempt::Attempt;
use super::failure::{Cause, Error, Failure, Http};
use crate::config::{Config, TokenSource};
use crate::host::redact::without_secrets;
use crate::host::timestamp::Timestamp;
use crate::host::version;
use crate::wire::frames::Metered;
use crate::wire::limits;
use crate::wire::transport::Transport;

/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);
/// At most this many characters of what the gateway says are shown.
const REASON: usize = 400;

/// Asks for the WebSocket, with the token. Also returns the gateway's clock, if the answer has it.
pub(super) fn shake_hands(
    attempt: &Attempt,
    transport: Transport,
    config: &Config,
) -> Result<(WebSocket<Metered<Transport>>, Option<Timestamp>), Error> {
    let failed = |why| Error::from(Cause::Http { gateway: config.gateway.to_string(), why });
    // What the gateway says may be any length, and may repeat the token.
    let shown = |text: String| config.token.blot_out(text).chars().take(REASON).collect();
    let request = request(config).map_err(|error| failed(Http::Request(error.to_string())))?;
    attempt.until(attempt.deadline);
    let mut outcome =
        client_with_config(request, Metered::new(transport), Some(limits::websocket()));
    loop {
        match outcome {
            // tungstenite asks for no extension, and does not check that none was accepted.
            Ok((_, response)) if response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) => {
                return Err(failed(Http::Extension));
            }
            Ok((websocket, response)) => return Ok((websocket, date(response.headers()))),
            Err(HandshakeError::Interrupted(handshake)) => {
                if attempt.woken()? {
                    return Err(failed(Http::NoAnswer));
                }
                outcome = handshake.handshake();
            }
            Err(HandshakeError::Failure(WsError::Http(response))) => {
                let gateway = config.gateway.to_string();
                let why = refusal(&response, &config.token_source, &shown);
                let date = date(response.headers());
                let failure = Failure { date, ..Failure::new(Cause::Http { gateway, why }) };
                return Err(Error::Failed(failure));
            }
            Err(HandshakeError::Failure(WsError::Io(error))) => {
                return Err(failed(Http::Socket(error)));
            }
            Err(HandshakeError::Failure(error)) => {
                return Err(failed(Http::NotWebSocket(shown(error.to_string()))));
            }
        }
    }
}

fn request(config: &Config) -> Result<Request, WsError> {
    let mut request = config.gateway.uri().into_client_request()?;
    let mut authorization = HeaderValue::from_str(&config.token.authorization())
        .map_err(tungstenite::http::Error::from)?;
    authorization.set_sensitive(true);
    let user_agent =
        HeaderValue::from_str(&version::user_agent()).map_err(tungstenite::http::Error::from)?;
    request.headers_mut().insert(AUTHORIZATION, authorization);
    request.headers_mut().insert(USER_AGENT, user_agent);
    Ok(request)
}

/// What a status other than 101 means.
fn refusal(response: &Response, token: &TokenSource, shown: &impl Fn(String) -> String) -> Http {
    let status = response.status().as_u16();
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Http::TokenRefused { status, source: token.clone() }
        }
        StatusCode::NOT_FOUND => Http::NoEndpoint,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Http::Busy { status, retry_after: retry_after(response.headers()) }
        }
        code if code.is_redirection() => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            Http::Redirected { status, location: location.map(|url| shown(without_query(url))) }
        }
        _ => Http::Status(status),
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::parse_http_date(headers.get(DATE)?.to_str().ok()?)
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are more than the most that is believed.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_CAP));
    }
    let date = Timestamp::parse_http_date(text)?;
    let seconds = date.unix().saturating_sub(Timestamp::now().unix());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(RETRY_AFTER_CAP))
}

/// A URL without its secrets, in printable characters.
fn without_query(url: &str) -> String {
    // A relative URL has its query still.
    let url = without_secrets(url);
    url.split(['?', '#']).next().unwrap_or_default().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, headers: &[(&'static str, &str)]) -> Failure {
        let mut response = Response::new(None);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for &(name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        let why = refusal(&response, &TokenSource::Environment, &|text| text);
        Failure::new(Cause::Http { gateway: "ws://h/".to_owned(), why })
    }

    #[test]
    fn refusals_name_the_variable_to_look_at() {
        for status in [401, 403] {
            let failure = refused(status, &[]);
            assert!(failure.to_string().contains("VMKIT_AGENT_TOKEN in /etc/vmkit/agent.env"));
            assert!(failure.unauthorized);
        }
        for status in [404, 200, 301, 500] {
            assert!(refused(status, &[]).to_string().contains("VMKIT_GATEWAY_URL"), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(refused(429, &[("retry-after", "7")]).retry_after, Some(Duration::from_secs(7)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(refused(503, &[("retry-after", past)]).retry_after, Some(Duration::ZERO));
        assert_eq!(refused(503, &[("retry-after", "soon")]).retry_after, None);
        assert_eq!(refused(401, &[("retry-after", "7")]).retry_after, None);
    }

    #[test]
    fn redirects_are_shown_without_secrets() {
        let failure = refused(302, &[("location", "https://u:secret@host/path?key=secret")]);
        let shown = failure.to_string();
        assert!(shown.contains(" (302) to https://host/path; "), "{shown}");
        assert!(!shown.contains("secret"));
        for location in ["//u:secret@host/path", "/path?key=secret", "https://u:secret@host"] {
            let shown = refused(302, &[("location", location)]).to_string();
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
