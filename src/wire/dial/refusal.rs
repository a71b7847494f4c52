//! What an answer other than 101 means. Pure but for the clock.

use std::time::Duration;

use super::answer::Answer;
use super::failure::Http;
use crate::config::Config;
use crate::host::redact::without_secrets;
use crate::host::timestamp::Timestamp;
use crate::wire::limits::RETRY_AFTER_CAP;

/// At most this many characters of what the gateway says are shown.
const REASON: usize = 400;

pub(super) fn meaning(answer: &Answer, config: &Config) -> Http {
    match answer.status {
        status @ (401 | 403) => Http::TokenRefused { status, source: config.token_source.clone() },
        404 => Http::NoEndpoint,
        status @ (429 | 503) => Http::Busy { status, retry_after: retry_after(answer) },
        // 520 to 529 are what CDNs say of a server behind them.
        status @ (502 | 504 | 520..=529) => Http::Away(status),
        status @ 300..=399 => {
            let authority = config.gateway.authority();
            let location = answer.header("Location");
            let location = location.map(|to| address(to, config.gateway.tls(), &authority));
            Http::Redirected { status, location: location.map(|to| shown(&to, config)) }
        }
        status => Http::Status(status),
    }
}

/// A stranger's text, of which the length, the characters and a repeated token are harmless.
pub(super) fn shown(text: &str, config: &Config) -> String {
    config.token.blot_out(text.escape_debug().to_string()).chars().take(REASON).collect()
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.header("Retry-After")?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are more than the most that is believed.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_CAP));
    }
    let date = Timestamp::parse_http_date(text)?;
    // By the gateway's clock, if it tells its time: this clock may be wrong.
    let now = answer.header("Date").and_then(Timestamp::parse_http_date);
    let seconds = date.unix().saturating_sub(now.unwrap_or_else(Timestamp::now).unix());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(RETRY_AFTER_CAP))
}

/// The address of a redirect, as VMKIT_GATEWAY_URL takes it and without secrets. `tls` and
/// `authority` are those of the gateway that redirects.
fn address(location: &str, tls: bool, authority: &str) -> String {
    let secure = if tls { "wss" } else { "ws" };
    let absolute = match location.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        None if location.starts_with("//") => format!("{secure}:{location}"),
        None if location.starts_with('/') => format!("{secure}://{authority}{location}"),
        _ => location.to_owned(),
    };
    let address = without_secrets(&absolute);
    // A relative address has its query still.
    address.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::answer::parse;
    use super::*;

    fn answer(head: &str) -> Answer {
        parse(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), false).unwrap().unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let waits = |text: &str| retry_after(&answer(&format!("503 x\r\nRetry-After: {text}")));
        assert_eq!(waits("7"), Some(Duration::from_secs(7)));
        assert_eq!(waits("99999999999999999999999"), Some(RETRY_AFTER_CAP));
        assert_eq!(waits("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(waits("Fri, 31 Dec 9999 23:59:59 GMT"), Some(RETRY_AFTER_CAP));
        let by_its_clock = "Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:07 GMT";
        assert_eq!(waits(by_its_clock), Some(Duration::from_secs(30)));
        for nonsense in ["soon", "-5", "", "1.5"] {
            assert_eq!(waits(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn redirects_are_shown_as_the_variable_takes_them_and_without_secrets() {
        for (location, expected) in [
            ("https://h.test/p", "wss://h.test/p"),
            ("HTTPS://h.test:8443/p/", "wss://h.test:8443/p/"),
            ("http://h.test/p", "ws://h.test/p"),
            ("wss://h.test/p", "wss://h.test/p"),
            ("/p/", "wss://gateway.test:1/p/"),
            ("//h.test/p", "wss://h.test/p"),
            ("elsewhere", "elsewhere"),
            ("https://u:secret@h.test/p?key=secret#f", "wss://h.test/p"),
            ("//u:secret@h.test", "wss://h.test"),
            ("/p?key=secret", "wss://gateway.test:1/p"),
            ("p?key=secret", "p"),
        ] {
            assert_eq!(address(location, true, "gateway.test:1"), expected, "{location}");
        }
        assert_eq!(address("/p", false, "[::1]:1"), "ws://[::1]:1/p");
    }
}
