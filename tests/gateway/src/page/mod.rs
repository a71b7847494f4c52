//! The page: the fleet to look at, for people. HTML is made here, on the server, and says all there is
//! without a script; scripts keep it fresh by one live stream a browser. Nothing comes from elsewhere.
//!
//! - `cookie` the session's cookie, and what other sites may not do with it; `visitor` who is signed in;
//!   `sign_in` how one comes to be; `headers` what every answer says to the browser
//! - `layout` what all pages share; `words` times and sizes; `assets` styles and scripts
//! - `overview` all instances; `instance` one of them, `plots` its history; `logs` the log of a
//!   container; `stream`, `live` what reaches open tabs by itself

mod assets;
pub mod cookie;
mod headers;
mod instance;
pub mod layout;
pub mod live;
mod logs;
mod overview;
mod plots;
pub mod sign_in;
pub mod stream;
pub mod visitor;
pub mod words;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tower_http::compression::CompressionLayer;

use crate::gateway::Gateway;

/// The path of a page that signs in once.
pub fn sign_in_link(code: &str) -> String {
    format!("/sign-in/link/{code}")
}

pub fn router(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    tokio::spawn(live::keep(gateway.clone()));
    // Compressed answers hold no secret that a guess beside it could find out by their size.
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/instances/{id}", get(instance::show))
        .route("/instances/{id}/upgrade", post(instance::upgrade))
        .route("/instances/{id}/logs/{container}", get(logs::show))
        .route("/instances/{id}/logs/{container}/text", get(logs::text))
        .route("/deploys/{id}/logs", get(logs::of_deploy))
        .route("/sign-in", get(sign_in::form).post(sign_in::by_key))
        .route("/sign-in/link/{code}", get(sign_in::link).post(sign_in::by_link))
        .route("/sign-out", post(sign_in::out))
        .route("/page/warnings", get(live::show))
        .route("/page/assets/{version}/{name}", get(assets::get))
        .layer(CompressionLayer::new());
    Router::new()
        .merge(pages)
        .route("/page/instances/{id}/logs/{container}/last", get(logs::last))
        .route("/page/instances/{id}/logs/{container}/search", get(logs::search))
        .route("/page/stream", get(stream::open))
        .route("/page/stream/{stream}/topics", post(stream::change))
        .layer(from_fn(headers::add))
}
