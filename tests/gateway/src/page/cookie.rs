//! The cookie that says who is signed in, and the checks that keep other sites from using it: what only
//! reads must come from this site or be typed, everything else must prove that it comes from it.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use crate::net::OverTls;

/// A browser takes a cookie with this prefix only over TLS, for this host alone.
const NAME_OVER_TLS: &str = "__Host-vmkit";
const NAME: &str = "vmkit";
/// Two requests with such a header, one forged, are told apart by it; old browsers don't send it.
const FETCH_SITE: &str = "sec-fetch-site";

pub fn is_over_tls(parts: &Parts) -> bool {
    parts.extensions.get::<OverTls>().is_some_and(|over| over.0)
}

/// The session's secret, if the request has a cookie and nothing else to prove who sends it. Given twice,
/// it is nobody's: a neighbouring site may have set the other one.
pub fn session(parts: &Parts) -> Option<&str> {
    if parts.headers.contains_key(AUTHORIZATION) {
        return None;
    }
    let name = name(is_over_tls(parts));
    let texts = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let mut ours = pairs.filter(|(given, _)| given.trim() == name).map(|(_, value)| value.trim());
    ours.next().filter(|_| ours.next().is_none())
}

/// The same, for a request of REST that changes nothing and that no other site has caused.
pub fn for_reading(parts: &Parts) -> Option<&str> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let own = matches!(fetch_site(&parts.headers), None | Some("same-origin" | "none"));
    session(parts).filter(|_| reads && own)
}

/// For whatever changes something. Browsers send `Origin` with each such request, so one without it is
/// refused.
pub fn is_from_here(parts: &Parts) -> bool {
    let text = |name| {
        let mut all = parts.headers.get_all(name).iter();
        let only = all.next().filter(|_| all.next().is_none());
        only.and_then(|value| value.to_str().ok())
    };
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else {
        return false;
    };
    // Without TLS here there may be a proxy that has it.
    let same = match origin.split_once("://") {
        Some(("https", from)) => from.eq_ignore_ascii_case(host),
        Some(("http", from)) => !is_over_tls(parts) && from.eq_ignore_ascii_case(host),
        _ => false,
    };
    same && matches!(fetch_site(&parts.headers), None | Some("same-origin"))
}

/// A browser does not send a strict cookie where another site has led to this one.
pub fn is_led_by_another_site(headers: &HeaderMap) -> bool {
    matches!(fetch_site(headers), Some("cross-site" | "same-site"))
}

pub fn set(over_tls: bool, secret: &str, lifetime: Duration) -> String {
    let (name, secs) = (name(over_tls), lifetime.as_secs());
    let secure = if over_tls { "; Secure" } else { "" };
    format!("{name}={secret}; Path=/; Max-Age={secs}; HttpOnly; SameSite=Strict{secure}")
}

pub fn unset(over_tls: bool) -> String {
    set(over_tls, "", Duration::ZERO)
}

fn name(over_tls: bool) -> &'static str {
    if over_tls { NAME_OVER_TLS } else { NAME }
}

fn fetch_site(headers: &HeaderMap) -> Option<&str> {
    headers.get(FETCH_SITE).map(|value| value.to_str().unwrap_or("cross-site"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(method: &str, over_tls: bool, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).extension(OverTls(over_tls));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_once() {
        let with = |cookie| parts("GET", false, &[("cookie", cookie)]);
        assert_eq!(session(&with("a=b; vmkit=x")), Some("x"));
        assert_eq!(session(&with("vmkit2=y; xvmkit=z")), None);
        assert_eq!(session(&with("vmkit=x; vmkit=y")), None);
        let over_tls = parts("GET", true, &[("cookie", "vmkit=x; __Host-vmkit=y")]);
        assert_eq!(session(&over_tls), Some("y"));
    }

    #[test]
    fn a_key_in_the_header_is_never_combined_with_a_cookie() {
        let both = [("cookie", "vmkit=x"), ("authorization", "Bearer vmk_wrong")];
        assert_eq!(session(&parts("GET", false, &both)), None);
    }

    #[test]
    fn another_site_reads_nothing() {
        for (site, reads) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let headers = [("cookie", "vmkit=x"), (FETCH_SITE, site)];
            assert_eq!(for_reading(&parts("GET", false, &headers)).is_some(), reads, "{site}");
            assert_eq!(for_reading(&parts("POST", false, &headers)), None, "{site}");
        }
    }

    #[test]
    fn a_change_proves_where_it_comes_from() {
        let host = ("host", "a.example:8443");
        let ours = ("origin", "https://a.example:8443");
        assert!(is_from_here(&parts("POST", true, &[host, ours])));
        assert!(is_from_here(&parts("POST", true, &[host, ours, (FETCH_SITE, "same-origin")])));
        for wrong in [
            vec![host],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "https://a.example")],
            vec![host, ("origin", "https://b.example:8443")],
            vec![host, ("origin", "http://a.example:8443")],
            vec![host, ours, ours],
            vec![host, ours, (FETCH_SITE, "same-site")],
            vec![host, ours, (FETCH_SITE, "cross-site")],
            vec![host, ours, (FETCH_SITE, "none")],
            vec![ours],
        ] {
            assert!(!is_from_here(&parts("POST", true, &wrong)), "{wrong:?}");
        }
        assert!(is_from_here(&parts("POST", false, &[host, ("origin", "http://a.example:8443")])));
    }

    #[test]
    fn attributes() {
        let set = set(true, "x", Duration::from_secs(60));
        let wanted = "__Host-vmkit=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(set, wanted);
        assert_eq!(unset(false), "vmkit=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}
