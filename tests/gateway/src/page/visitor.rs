//! Who looks at a page: an extractor of every handler but those that sign in. Whatever is not a GET is
//! checked here to come from this site, so no handler can forget it.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{cookie, layout, sign_in};
use crate::access::scope::Scope;
use crate::access::{Denied, Identity};
use crate::api::identity::Needs;
use crate::gateway::Gateway;

pub struct Visitor {
    pub identity: Identity,
}

impl Visitor {
    pub fn may(&self, scope: Scope) -> bool {
        self.identity.scopes.has(scope)
    }
}

/// A visitor who may do this.
pub struct Allowed<S> {
    pub visitor: Visitor,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<Arc<Gateway>> for Allowed<S> {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Allowed<S>, Response> {
        let visitor = Visitor::from_request_parts(parts, gateway).await?;
        match visitor.may(S::SCOPE) {
            true => Ok(Allowed { visitor, scope: PhantomData }),
            false => Err(lacks(&visitor, S::SCOPE)),
        }
    }
}

impl FromRequestParts<Arc<Gateway>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Visitor, Response> {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if !reads && !cookie::is_from_here(parts) {
            return Err(not_from_here());
        }
        let Some(session) = cookie::session(parts) else {
            return Err(stranger(parts));
        };
        match gateway.access.by_session(session).await {
            Ok(identity) => Ok(Visitor { identity }),
            Err(Denied::Broken) => Err(broken()),
            Err(_) => Err(stranger(parts)),
        }
    }
}

/// Proof that the request comes from a page of this site, signed in or not.
pub struct FromHere;

impl<S: Sync> FromRequestParts<S> for FromHere {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<FromHere, Response> {
        cookie::is_from_here(parts).then_some(FromHere).ok_or_else(not_from_here)
    }
}

fn lacks(visitor: &Visitor, scope: Scope) -> Response {
    let (name, scope) = (&visitor.identity.name, scope.name());
    let words = format!(
        "The key “{name}” lacks the scope {scope}. Sign out, then sign in with another key."
    );
    layout::message(StatusCode::FORBIDDEN, "Not allowed", &words, Some(visitor))
}

pub fn broken() -> Response {
    let words = "The gateway can't read or write its store. Its log says why. Try again later.";
    layout::message(StatusCode::SERVICE_UNAVAILABLE, "Not available", words, None)
}

fn not_from_here() -> Response {
    let words = "This request did not come from a page of this gateway, so nothing was done. \
                 If you sent a form: open the page again, by the address in the address bar.";
    layout::message(StatusCode::FORBIDDEN, "Refused", words, None)
}

/// To the form that signs in, or, for a script, a status.
fn stranger(parts: &Parts) -> Response {
    let accepted = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if !reads || !accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // A link from another site comes without the cookie. Asked for once more, by this site, it has it.
    if cookie::is_led_by_another_site(&parts.headers) {
        return layout::again(wanted).into_response();
    }
    (StatusCode::SEE_OTHER, [(LOCATION, sign_in::path(wanted))]).into_response()
}
