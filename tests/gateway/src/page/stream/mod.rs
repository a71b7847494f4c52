//! The one live stream of a browser, which its tabs share: `GET /page/stream`, and
//! `POST /page/stream/{stream}/topics` to add and remove topics.
//!
//! | topic                     | events                                                               |
//! |---------------------------|----------------------------------------------------------------------|
//! | `fleet`, always there     | `warnings`: who is lost; `event`: what has happened, with an id;     |
//! |                           | `changed`: something did, look again                                 |
//! | `instance:ID`             | `changed`, at most once a second                                     |
//! | `logs:ID/CONTAINER`       | `following`, `lines`, and `end` with the reason                      |
//!
//! The first event, `hello`, names the stream. After `Last-Event-ID` the fleet's later events come first,
//! so whoever resumes has missed none.

mod reader;
mod streams;
mod topic;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::cookie;
use super::visitor::{Allowed, Visitor};
use crate::access::scope::Scope;
use crate::api::extract::Json;
use crate::api::identity::Read;
use crate::api::problem::Problem;
use crate::api::sse::no_longer_allowed;
use crate::gateway::Gateway;
use reader::Reader;
pub use streams::Streams;
use topic::{Change, Topic};

/// Proxies end a connection that is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Of one request.
const CHANGES: usize = 64;

pub async fn open(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    if cookie::is_led_by_another_site(&headers) {
        return Err(StatusCode::FORBIDDEN.into_response());
    }
    let session = visitor.identity.session.as_ref();
    let session = session.ok_or_else(|| Problem::no_key().into_response())?;
    let place = gateway.event_readers.clone().try_acquire_owned();
    let place =
        place.map_err(|_| Problem::busy("too many readers of live events").into_response())?;
    let opened = gateway.streams.open(&session.hash);
    let opened = opened.ok_or_else(|| Problem::busy("no random bytes").into_response())?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let reader = Reader::new(gateway.clone(), opened, last, place);
    let events = stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let events = events.take_until(no_longer_allowed(gateway, visitor.identity));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    add: Vec<Addition>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    topic: String,
    /// Of a container: how many of its last lines come first.
    lines: Option<u32>,
    /// Of a container: what is older does not come.
    since: Option<String>,
}

/// Takes effect in the order in which it is asked for; a topic that can't be followed ends on the stream.
pub async fn change(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(stream): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<StatusCode, Response> {
    let changes = changes(&visitor, wanted).map_err(IntoResponse::into_response)?;
    let session = visitor.identity.session.as_ref();
    let session = session.ok_or_else(|| Problem::no_key().into_response())?;
    let problem = gateway.streams.change(&stream, &session.hash, changes);
    problem.map_err(IntoResponse::into_response)?;
    Ok(StatusCode::NO_CONTENT)
}

fn changes(visitor: &Visitor, wanted: Wanted) -> Result<Vec<Change>, Problem> {
    if wanted.add.len() + wanted.remove.len() > CHANGES {
        return Err(Problem::invalid(format!("over {CHANGES} topics")));
    }
    let mut changes = Vec::new();
    for topic in wanted.remove {
        changes.push(Change::Remove(topic));
    }
    for addition in wanted.add {
        let topic = Topic::parse(&addition.topic, addition.lines, addition.since)?;
        if matches!(topic, Topic::Logs(..)) && !visitor.may(Scope::Logs) {
            return Err(Problem::lacks(Scope::Logs));
        }
        changes.push(Change::Add(addition.topic, topic));
    }
    Ok(changes)
}
