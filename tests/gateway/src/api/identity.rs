//! Who sends a request, and whether the scope is enough: an extractor of every handler.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;

use super::problem::Problem;
use crate::access::Identity;
use crate::access::scope::Scope;
use crate::agents::daemon::bearer;
use crate::gateway::Gateway;
use crate::net::Peer;
use crate::page::cookie;

/// Proof that whoever sent the request may do this.
pub struct May<S> {
    pub identity: Identity,
    scope: PhantomData<S>,
}

pub trait Needs {
    const SCOPE: Scope;
}

pub struct Read;
pub struct Logs;
pub struct Operate;

impl Needs for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Needs for Logs {
    const SCOPE: Scope = Scope::Logs;
}

impl Needs for Operate {
    const SCOPE: Scope = Scope::Operate;
}

impl<S: Needs> FromRequestParts<Arc<Gateway>> for May<S> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<May<S>, Problem> {
        let identity = identify(parts, gateway).await?;
        match identity.scopes.has(S::SCOPE) {
            true => Ok(May { identity, scope: PhantomData }),
            false => Err(Problem::lacks(S::SCOPE)),
        }
    }
}

/// By the API key in the request's header, or, for reading, by the page's cookie. A request with both is
/// judged by its key alone.
pub async fn identify(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Identity, Problem> {
    let Extension(peer) = Extension::<Peer>::from_request_parts(parts, gateway)
        .await
        .map_err(|_| Problem::no_key())?;
    if let Some(session) = cookie::for_reading(parts) {
        return Ok(gateway.access.by_session(session).await?);
    }
    let presented = bearer(&parts.headers).ok_or_else(Problem::no_key)?;
    Ok(gateway.access.api(peer.0.ip(), presented).await?)
}
