//! Every path of the gateway, and the one check of the bearer token before all but `/health`.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::agents::session::{self, MESSAGE_LIMIT};
use crate::net::serve::{Listener, Peer};
use crate::output;
use crate::state::Gateway;

/// Serves for ever; returns only the error that ended it.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>) -> io::Error {
    let router = Router::new()
        .route("/api/daemon", get(daemon))
        .route("/api/instances", get(instances))
        .route("/api/instances/{id}", get(instance))
        .route_layer(from_fn_with_state(gateway.clone(), authorize))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(gateway);
    let service = router.into_make_service_with_connect_info::<Peer>();
    match axum::serve(listener, service).await {
        Ok(()) => io::Error::other("the listener closed"),
        Err(error) => error,
    }
}

async fn authorize(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let refused = |status: StatusCode| {
        output::event(
            "refused",
            json!({"peer": peer.to_string(), "path": path, "status": status.as_u16()}),
        );
    };
    if path == "/api/daemon"
        && let Some(refusal) = gateway.refusal()
    {
        refused(refusal.status);
        let mut response = refusal.status.into_response();
        if let Some(seconds) = refusal.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        return response;
    }
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    if !gateway.token.is(presented) {
        refused(StatusCode::UNAUTHORIZED);
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    next.run(request).await
}

async fn daemon(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    upgrade
        // The limit itself is the session's to judge, which answers with a proper close.
        .max_message_size(2 * MESSAGE_LIMIT)
        .max_frame_size(2 * MESSAGE_LIMIT)
        .on_upgrade(move |socket| async move {
            let number = gateway.next_session();
            output::event(
                "connected",
                json!({"session": number, "peer": peer.to_string(), "user_agent": agent}),
            );
            session::run(gateway, socket, number).await;
        })
}

async fn instances(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    Json(gateway.instances())
}

async fn instance(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    match gateway.instance(&id) {
        Some(instance) => Json(instance).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
