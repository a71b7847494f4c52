//! Who may use MCP: whoever has an API key in the header `Authorization` and calls the gateway by its own
//! name. A cookie opens nothing here, because a browser sends it also for other sites' pages.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::timeout;

use super::BODY_LIMIT;
use crate::access::Identity;
use crate::access::scope::Scope;
use crate::agents::daemon::bearer;
use crate::api::problem::Problem;
use crate::gateway::Gateway;
use crate::net::Peer;
use crate::net::hosts::{Hosts, Stranger};

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Door {
    pub gateway: Arc<Gateway>,
    pub hosts: Hosts,
}

/// As much of a message as tells whether it is one.
#[derive(Deserialize)]
struct Message {
    jsonrpc: String,
}

/// The identity goes on with the request, and the key does not: no part of it can be logged further in.
pub async fn pass(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().copied();
    let identity = match door.identify(request.headers(), peer).await {
        Ok(identity) => identity,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(identity);
    request.headers_mut().remove(AUTHORIZATION);
    request.headers_mut().remove(COOKIE);
    match whole(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Door {
    /// The names come first: a page of another site may not even try keys.
    async fn identify(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Identity, Problem> {
        self.hosts.check(headers).map_err(stranger)?;
        let peer = peer.ok_or_else(Problem::no_key)?;
        let presented = bearer(headers).ok_or_else(Problem::no_key)?;
        let identity = self.gateway.access.api(peer.0.ip(), presented).await?;
        let scopes = &identity.scopes;
        match scopes.has(Scope::Read) || scopes.has(Scope::Logs) {
            true => Ok(identity),
            false => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "missing-scope",
                "Missing scope",
                "this API key has neither the scope read nor logs; use another key",
            )),
        }
    }
}

fn stranger(stranger: Stranger) -> Problem {
    let (status, name, title) = match stranger {
        Stranger::NoHost => (StatusCode::BAD_REQUEST, "no-host", "No host"),
        Stranger::Host(_) => (StatusCode::FORBIDDEN, "unknown-host", "Unknown host"),
        Stranger::Origin => (StatusCode::FORBIDDEN, "foreign-origin", "Foreign origin"),
    };
    let detail = match stranger {
        Stranger::NoHost => "the header Host is not the name of one host".to_owned(),
        Stranger::Host(host) => {
            format!("this gateway is not called {host:?}; start it with --host for this name")
        }
        Stranger::Origin => "a web page of another site may not use MCP".to_owned(),
    };
    Problem::new(status, name, title, detail)
}

/// With its whole body, which came in time, is not too long and may be a message.
async fn whole(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let read = timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await;
    let late = |_| Problem::invalid("the body did not come within 10 s");
    let body = read.map_err(late)?.map_err(|_| {
        let (status, detail) =
            (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {BODY_LIMIT} bytes"));
        Problem::new(status, "too-large", "Too large", detail)
    })?;
    match serde_json::from_slice::<Message>(&body) {
        Ok(message) if message.jsonrpc == "2.0" => Ok(Request::from_parts(parts, Body::from(body))),
        Ok(_) => Err(Problem::invalid("the body is not JSON-RPC 2.0")),
        Err(error) => Err(Problem::invalid(format!("the body is not a JSON-RPC message: {error}"))),
    }
}
