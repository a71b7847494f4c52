//! Signing in, by an API key or by a link that works once, and out. The key travels in a form's body,
//! never in a URL.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::layout::{Shell, page};
use super::visitor::{FromHere, Visitor, broken};
use super::{cookie, sign_in_link};
use crate::access::Denied;
use crate::access::session::SignedIn;
use crate::api::extract::Form;
use crate::gateway::Gateway;
use crate::net::{OverTls, Peer};

#[derive(Deserialize)]
pub struct Next {
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct KeyForm {
    key: String,
    next: Option<String>,
}

/// Of the form, and where it leads to.
pub fn path(next: &str) -> String {
    match next {
        "/" => "/sign-in".to_owned(),
        next => format!("/sign-in?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
    }
}

/// Whoever comes back with a session that is over is told so.
pub async fn form(
    State(gateway): State<Arc<Gateway>>,
    Query(Next { next }): Query<Next>,
    parts: Parts,
) -> Markup {
    let is_over = match cookie::session(&parts) {
        Some(session) => gateway.access.by_session(session).await.is_err(),
        None => false,
    };
    let words = "Your session is over: it was too old, or its API key was revoked.";
    key_page(next.as_deref(), is_over.then_some(words))
}

pub async fn by_key(
    _: FromHere,
    State(gateway): State<Arc<Gateway>>,
    Extension(peer): Extension<Peer>,
    parts: Parts,
    Form(form): Form<KeyForm>,
) -> Response {
    let next = form.next.as_deref();
    match gateway.access.sign_in(peer.0.ip(), form.key.trim()).await {
        Ok(signed_in) => welcome(&gateway, &parts, signed_in, next).await,
        Err(denied) => {
            refused(denied, |words| key_page(next, Some(words)), "This API key is not valid.")
        }
    }
}

pub async fn link(Path(code): Path<String>) -> Markup {
    link_page(&code, None)
}

pub async fn by_link(
    _: FromHere,
    State(gateway): State<Arc<Gateway>>,
    Extension(peer): Extension<Peer>,
    Path(code): Path<String>,
    parts: Parts,
) -> Response {
    match gateway.access.sign_in_by_code(peer.0.ip(), &code).await {
        Ok(signed_in) => welcome(&gateway, &parts, signed_in, None).await,
        Err(denied) => {
            let words = "This link has been used, or is older than 10 minutes. \
                         Ask the gateway for another one.";
            refused(denied, |words| link_page(&code, Some(words)), words)
        }
    }
}

pub async fn out(
    visitor: Visitor,
    Extension(OverTls(over_tls)): Extension<OverTls>,
    State(gateway): State<Arc<Gateway>>,
) -> Response {
    if let Some(session) = &visitor.identity.session
        && gateway.access.sign_out(session).await.is_err()
    {
        return broken();
    }
    let headers = [(LOCATION, "/sign-in".to_owned()), (SET_COOKIE, cookie::unset(over_tls))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The session before, if any, ends: a browser has one.
async fn welcome(
    gateway: &Gateway,
    parts: &Parts,
    signed_in: SignedIn,
    next: Option<&str>,
) -> Response {
    if let Some(before) = cookie::session(parts)
        && let Ok(identity) = gateway.access.by_session(before).await
        && let Some(session) = &identity.session
    {
        let _ = gateway.access.sign_out(session).await;
    }
    let cookie = cookie::set(cookie::is_over_tls(parts), &signed_in.secret, signed_in.lifetime);
    let headers = [(LOCATION, here(next)), (SET_COOKIE, cookie)];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// A path of this site, whatever was asked for.
fn here(next: Option<&str>) -> String {
    let uri: Option<Uri> = next.and_then(|next| next.parse().ok());
    let own = |uri: &Uri| uri.authority().is_none() && uri.path().starts_with('/');
    let path = uri.filter(own).and_then(|uri| uri.into_parts().path_and_query);
    let path = path.map(|path| path.as_str().to_owned()).unwrap_or_default();
    // A browser takes both of these for the beginning of a host.
    let foreign = path.starts_with("//") || path.contains('\\') || !path.starts_with('/');
    if foreign { "/".to_owned() } else { path }
}

fn refused(denied: Denied, page: impl Fn(&str) -> Markup, unknown: &str) -> Response {
    match denied {
        Denied::Unknown => (StatusCode::UNAUTHORIZED, page(unknown)).into_response(),
        Denied::TooMany { wait } => {
            let seconds = wait.as_secs() + 1;
            let words = format!("Too many failed attempts. Try again in {seconds} s.");
            let headers = [(RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, page(&words)).into_response()
        }
        Denied::Broken => broken(),
    }
}

fn key_page(next: Option<&str>, failure: Option<&str>) -> Markup {
    let shell = Shell { title: "Sign in", visitor: None, warnings: None, scripts: &[] };
    page(
        &shell,
        html! {
            form.sign-in method="post" action="/sign-in" {
                h1 { "Sign in" }
                @if let Some(words) = failure { p.failure role="alert" #failure { (words) } }
                @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                // For whatever keeps passwords: it asks for a name to each.
                input type="text" name="username" value="API key" autocomplete="username" hidden;
                label for="key" { "API key" }
                input #key name="key" type="password" required autofocus autocomplete="current-password"
                    placeholder="vmk_…" spellcheck="false" autocapitalize="off"
                    aria-invalid=[failure.map(|_| "true")] aria-describedby=[failure.map(|_| "failure")];
                button type="submit" { "Sign in" }
                p.hint { "Keys are made by " code { "gateway token add" } ". The browser keeps no key: it keeps a session of 12 hours." }
            }
        },
    )
}

fn link_page(code: &str, failure: Option<&str>) -> Markup {
    let shell = Shell { title: "Sign in", visitor: None, warnings: None, scripts: &[] };
    page(
        &shell,
        html! {
            form.sign-in method="post" action=(sign_in_link(code)) {
                h1 { "Sign in" }
                @if let Some(words) = failure {
                    p.failure role="alert" { (words) }
                    p { a href="/sign-in" { "Sign in with an API key" } }
                } @else {
                    p { "This link signs in once." }
                    button type="submit" autofocus { "Sign in" }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_to_this_site_alone() {
        for (next, leads) in [
            ("/instances/a?range=7d", "/instances/a?range=7d"),
            ("/", "/"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("evil.example", "/"),
            ("/a\nSet-Cookie: b", "/"),
            ("", "/"),
        ] {
            assert_eq!(here(Some(next)), leads, "{next:?}");
        }
        assert_eq!(here(None), "/");
    }
}
