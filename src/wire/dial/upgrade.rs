//! The upgrade request, and what an answer other than 101 means to an operator.

use std::time::Duration;

use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::http::header::{
    AUTHORIZATION, DATE, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS, USER_AGENT,
};
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode};
use tungstenite::{Error as WsError, WebSocket};

use super::{Attempt, Error, Failure, Phase};
use crate::config::{Config, ENV_FILE, TokenSource};
use crate::host::redact::without_secrets;
use crate::host::timestamp::Timestamp;
use crate::host::version;
use crate::wire::frames::Metered;
use crate::wire::session;
use crate::wire::transport::Transport;

/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);
/// So much of the reason for a refusal is shown.
const REASON: usize = 400;

/// Asks for the WebSocket, with the token; with it comes the gateway's clock.
pub(super) fn upgrade(
    attempt: &Attempt,
    transport: Transport,
    config: &Config,
) -> Result<(WebSocket<Metered<Transport>>, Option<Timestamp>), Error> {
    // What the other side says may be any length, and may repeat the token.
    let failed = |reason: &str| {
        let reason = config.token.blot_out(reason.to_owned());
        let reason: String = reason.chars().take(REASON).collect();
        Failure::new(Phase::Http, format!("{}: {reason}", config.gateway))
    };
    let request = request(config).map_err(|error| failed(&error.to_string()))?;
    attempt.until(attempt.deadline);
    let mut outcome = client_with_config(request, Metered::new(transport), Some(session::limits()));
    loop {
        match outcome {
            // tungstenite offers no extension, and does not look whether one was accepted.
            Ok((_, response)) if response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) => {
                let reason = "the answer accepts an extension that was not asked for";
                return Err(failed(reason).into());
            }
            Ok((websocket, response)) => return Ok((websocket, date(response.headers()))),
            Err(HandshakeError::Interrupted(handshake)) => {
                if attempt.woken()? {
                    return Err(failed("no answer to the upgrade request in time").into());
                }
                outcome = handshake.handshake();
            }
            Err(HandshakeError::Failure(WsError::Http(response))) => {
                let date = date(response.headers());
                return Err(
                    Failure { date, ..refusal(&response, &config.token_source, &failed) }.into()
                );
            }
            Err(HandshakeError::Failure(WsError::Io(error))) => {
                return Err(failed(&format!("the connection failed: {error}")).into());
            }
            Err(HandshakeError::Failure(error)) => {
                let reason = format!("not a WebSocket's answer: {error}; check VMKIT_GATEWAY_URL");
                return Err(failed(&reason).into());
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

/// An answer that is no 101, in words.
fn refusal(response: &Response, token: &TokenSource, failed: &impl Fn(&str) -> Failure) -> Failure {
    let status = response.status();
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure {
            unauthorized: true,
            ..failed(&format!(
                "the gateway refuses the token ({code}); check {}, and that VMKIT_GATEWAY_URL is \
                 the gateway it is for",
                match token {
                    TokenSource::Credential(_) => token.to_string(),
                    _ => format!("VMKIT_AGENT_TOKEN in {ENV_FILE}"),
                }
            ))
        },
        StatusCode::NOT_FOUND => {
            failed("there is no such endpoint (404); check the path in VMKIT_GATEWAY_URL")
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let retry_after = retry_after(response.headers());
            let when = retry_after.map_or(String::new(), |delay| {
                format!(", in {} s at the earliest", delay.as_secs())
            });
            let reason = format!("the gateway is busy ({code}); it will be asked again{when}");
            Failure { retry_after, ..failed(&reason) }
        }
        _ if status.is_redirection() => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            failed(&format!(
                "redirected ({code}), which is not followed; put the right address in \
                 VMKIT_GATEWAY_URL: not here but at {}",
                location.map_or("nowhere".to_owned(), shown)
            ))
        }
        _ if status.is_success() => failed(&format!(
            "answered {code} instead of 101: a captive portal, or a proxy that knows no \
             WebSockets? check VMKIT_GATEWAY_URL"
        )),
        _ => failed(&format!("the gateway answered {code}; check VMKIT_GATEWAY_URL")),
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

/// A URL that is fit for a log line.
fn shown(url: &str) -> String {
    // Of a relative one, the query too.
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
        let failed = |reason: &str| Failure::new(Phase::Http, reason.to_owned());
        refusal(&response, &TokenSource::Environment, &failed)
    }

    #[test]
    fn refusals_name_the_variable_to_look_at() {
        for status in [401, 403] {
            let failure = refused(status, &[]);
            assert!(failure.reason.contains("VMKIT_AGENT_TOKEN in /etc/vmkit/agent.env"));
            assert!(failure.unauthorized);
        }
        for status in [404, 200, 301, 500] {
            assert!(refused(status, &[]).reason.contains("VMKIT_GATEWAY_URL"), "{status}");
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
        assert!(failure.reason.ends_with(" https://host/path"), "{}", failure.reason);
        assert!(!failure.reason.contains("secret"));
        for location in ["//u:secret@host/path", "/path?key=secret", "https://u:secret@host"] {
            let failure = refused(302, &[("location", location)]);
            assert!(!failure.reason.contains("secret"), "{}", failure.reason);
        }
    }
}
