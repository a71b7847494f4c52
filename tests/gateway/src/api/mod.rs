//! REST: every path but the agents', and the description of them all. Handlers are thin: what they
//! answer is made in `agents` and `store`.
//!
//! - `identity` who sends a request, and may they; `extract` the parts of a request; `problem` errors
//! - `instances`, `history`, `logs`, `upgrade`, `events` the paths; `sse` live streams

mod events;
pub mod extract;
mod history;
pub mod identity;
pub mod instances;
pub mod logs;
pub mod problem;
pub mod sse;
pub mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToResponse};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agents::daemon;
use crate::gateway::Gateway;
use crate::mcp;
use crate::net::hosts::Hosts;
use crate::page;
use problem::Problem;

/// Of a request.
const BODY_LIMIT: usize = 16 * 1024;

/// An error, as RFC 9457 describes it.
#[derive(ToResponse)]
#[response(description = "A problem", content_type = "application/problem+json")]
pub struct Failed(#[expect(dead_code, reason = "its schema is all there is to it")] Problem);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vmkit reference gateway",
        description = "A control plane in small. Times are RFC 3339 in UTC. \
                       The scope `operate` is as good as root on every VM.",
    ),
    components(responses(Failed), schemas(Problem, logs::Follow)),
    modifiers(&Keys),
)]
struct Description;

struct Keys;

impl Modify for Keys {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let words = "An API key, `vmk_…`, made by `gateway token add`.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme.build()));
    }
}

/// All paths, ready to serve.
pub fn router(gateway: Arc<Gateway>, hosts: Hosts) -> Router {
    let (router, description) = described().split_for_parts();
    // Once: whoever asks may ask often, and needs no key.
    let description = Bytes::from(description.to_json().unwrap_or_default());
    let json = [(CONTENT_TYPE, "application/json")];
    Router::new()
        .merge(router)
        .merge(mcp::router(gateway.clone(), hosts))
        .route("/api/openapi.json", get(async move || (json, description)))
        .route("/api/daemon", get(daemon::daemon))
        .merge(page::router(&gateway))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(log))
        .with_state(gateway)
}

fn described() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health))
        .routes(routes!(instances::list))
        .routes(routes!(instances::one))
        .routes(routes!(history::history))
        .routes(routes!(logs::of_instance))
        .routes(routes!(logs::of_deploy))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(events::of_fleet))
        .routes(routes!(events::of_instance))
}

/// Whether the gateway runs.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn health() -> &'static str {
    "ok\n"
}

async fn no_such_path() -> Problem {
    Problem::not_found("no-such-path", "no such path; see /api/openapi.json")
}

async fn no_such_method() -> Problem {
    let (status, detail) = (StatusCode::METHOD_NOT_ALLOWED, "see /api/openapi.json");
    Problem::new(status, "no-such-method", "Method not allowed", detail)
}

/// A line for each request: of its URL only the pattern that it matched, and no header.
async fn log(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let (path, status) = (path.as_deref().unwrap_or("unknown"), response.status().as_u16());
    tracing::info!(%method, path, status, "answered");
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is true now, and for this key only.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
