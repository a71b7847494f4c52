//! `/api/daemon`: the path that agents dial, and the check of their token.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::session::{self, MESSAGE_LIMIT};
use crate::access::Denied;
use crate::access::agent::AgentIdentity;
use crate::gateway::Gateway;
use crate::net::Peer;
use crate::net::places::Place;
use crate::output;

const AGENT_NAME_LIMIT: usize = 200;
/// Each session has its own for as long as it lives. The library's 128 KiB would be most of what it costs.
const READ_BUFFER: usize = 4096;
/// Seconds: a session that its agent has left without a word ends in this time or a few of it.
const HELD_RETRY: u64 = 10;

/// An agent with a good token, or the answer that it gets.
pub struct Agent(AgentIdentity);

impl FromRequestParts<Arc<Gateway>> for Agent {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Agent, Response> {
        let Extension(peer) = Extension::<Peer>::from_request_parts(parts, gateway)
            .await
            .map_err(IntoResponse::into_response)?;
        let refusal = *gateway.switches.refuse_upgrade.lock();
        if let Some(refusal) = refusal {
            return Err(refused(peer, refusal.status, refusal.retry_after.map(u64::from)));
        }
        let presented = bearer(&parts.headers).unwrap_or_default();
        match gateway.access.agent(peer.0.ip(), presented).await {
            Ok(identity) => Ok(Agent(identity)),
            Err(Denied::Unknown) => Err(refused(peer, StatusCode::UNAUTHORIZED, None)),
            Err(Denied::TooMany { wait }) => {
                let seconds = wait.as_secs() + 1;
                Err(refused(peer, StatusCode::TOO_MANY_REQUESTS, Some(seconds)))
            }
            Err(Denied::Broken) => Err(refused(peer, StatusCode::SERVICE_UNAVAILABLE, Some(5))),
        }
    }
}

pub async fn daemon(
    Agent(identity): Agent,
    State(gateway): State<Arc<Gateway>>,
    Extension(peer): Extension<Peer>,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !gateway.agents.has_room() {
        return refused(peer, StatusCode::SERVICE_UNAVAILABLE, Some(60));
    }
    let Some(held) = gateway.access.hold_session(&identity) else {
        let mut refused = refused(peer, StatusCode::TOO_MANY_REQUESTS, Some(HELD_RETRY));
        *refused.body_mut() = Body::from("too many sessions with this token\n");
        return refused;
    };
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let agent: Option<String> = agent.map(|agent| agent.chars().take(AGENT_NAME_LIMIT).collect());
    upgrade
        .read_buffer_size(READ_BUFFER)
        // The limit itself is the session's to judge, which answers with a proper close.
        .max_message_size(2 * MESSAGE_LIMIT)
        .max_frame_size(2 * MESSAGE_LIMIT)
        .max_write_buffer_size(2 * MESSAGE_LIMIT)
        .on_upgrade(move |socket| async move {
            // As long as the session lives.
            let _kept = (place, held);
            let admitted = gateway.agents.admit();
            output::event(
                "connected",
                json!({"session": admitted.number, "peer": peer.to_string(), "user_agent": agent}),
            );
            session::run(gateway, socket, identity, admitted).await;
        })
}

/// Of two headers neither counts: a proxy may have looked at the other.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret)
}

fn refused(peer: Peer, status: StatusCode, retry_after: Option<u64>) -> Response {
    output::event(
        "refused",
        json!({"peer": peer.to_string(), "path": "/api/daemon", "status": status.as_u16()}),
    );
    let mut response = status.into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
