//! MCP, for assistants: `POST /mcp`, the streamable HTTP transport of the Model Context Protocol. It has
//! the view of REST on instances and logs, and can change nothing: there is no tool that needs `operate`.
//!
//! Each request stands alone. There are no sessions to keep, so nothing outlives its request, and a
//! revoked key ends with the request that it sent.
//!
//! - `door` who may come in; `server` the protocol's methods; `tools` what is offered to whom
//! - `instances`, `logs` the tools; `schema` what they take and give; `failure` errors in words

mod door;
mod failure;
mod instances;
mod logs;
mod schema;
mod server;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post_service;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::gateway::Gateway;
use crate::net::hosts::Hosts;
use door::Door;
use server::Server;

/// Of a request.
pub const BODY_LIMIT: usize = 64 * 1024;

pub fn router(gateway: Arc<Gateway>, hosts: Hosts) -> Router<Arc<Gateway>> {
    // The door has looked at `Host` and `Origin`, before it looks at the key.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(BODY_LIMIT);
    let server = Server::new(gateway.clone());
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let door = Arc::new(Door { gateway, hosts });
    let service = post_service(service).route_layer(from_fn_with_state(door, door::pass));
    Router::new().route("/mcp", service)
}
