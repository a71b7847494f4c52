//! Styles and scripts, part of the binary. Their path has a hash of all of them, so a browser keeps them
//! for as long as it likes, and scripts find each other by relative names.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const KEPT: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($name:literal: $kind:literal,)*) => {
        [$(Asset {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("../../page/", $name)),
        }),*]
    };
}

static ASSETS: &[Asset] = &assets! {
    "page.css": "text/css; charset=utf-8",
    "pieces.css": "text/css; charset=utf-8",
    "overview.css": "text/css; charset=utf-8",
    "instance.css": "text/css; charset=utf-8",
    "plots.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "plots.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "logs.css": "text/css; charset=utf-8",
    "logs.js": "text/javascript; charset=utf-8",
    "log-lines.js": "text/javascript; charset=utf-8",
    "log-search.js": "text/javascript; charset=utf-8",
};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = Sha256::new();
    for asset in ASSETS {
        hasher.update(asset.name);
        hasher.update(asset.text);
    }
    HEXLOWER.encode(hasher.finalize().get(..8).unwrap_or_default())
});

pub fn path(name: &str) -> String {
    format!("/page/assets/{}/{name}", *VERSION)
}

pub async fn get(Path((version, name)): Path<(String, String)>) -> Response {
    // A page that was open when the gateway was upgraded asks for older ones: it has to be loaded anew.
    let asset = ASSETS.iter().find(|asset| asset.name == name && version == *VERSION);
    let Some(asset) = asset else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{version}-{name}\"");
    let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, KEPT), (ETAG, &tag)];
    (headers, asset.text).into_response()
}
