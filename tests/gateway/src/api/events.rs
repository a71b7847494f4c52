//! `GET /api/events` and `GET /api/instances/{id}/events`: what has happened, once or live.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::identity::{May, Read};
use super::problem::Problem;
use super::sse;
use crate::access::Identity;
use crate::agents::register::InstanceId;
use crate::gateway::Gateway;
use crate::store::events::{EventId, Page, Part, StoredEvent};

const LIMIT: usize = 100;
const HIGHEST_LIMIT: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events after this one, the oldest first. Live: where to begin.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Only events before this one: without `after` the newest first. Not live.
    #[param(minimum = 0)]
    before: Option<i64>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct Events {
    pub events: Vec<StoredEvent>,
}

/// What has happened to the fleet: without `after` and `before`, the newest first.
///
/// Live (`Accept: text/event-stream`), each message is one event with its id, and begins after `after`,
/// after the header `Last-Event-ID`, or now.
#[utoipa::path(
    get, path = "/api/events", tag = "events", security(("key" = ["read"])),
    params(EventsQuery),
    responses(
        (status = 200, content((Events = "application/json"), (sse::EventMessage = "text/event-stream"))),
        (status = "default", response = crate::api::Failed),
    ),
)]
pub async fn of_fleet(
    May { identity, .. }: May<Read>,
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(gateway, identity, None, query, &headers).await
}

/// What has happened to one instance: connects, losses, upgrades, roll-backs with their cause.
#[utoipa::path(
    get, path = "/api/instances/{id}/events", tag = "events", security(("key" = ["read"])),
    params(("id" = InstanceId, Path), EventsQuery),
    responses(
        (status = 200, content((Events = "application/json"), (sse::EventMessage = "text/event-stream"))),
        (status = "default", response = crate::api::Failed),
    ),
)]
pub async fn of_instance(
    May { identity, .. }: May<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if gateway.agents.read(|fleet| fleet.get(&id).is_none()) {
        return Err(Problem::no_instance());
    }
    answer(gateway, identity, Some(id), query, &headers).await
}

async fn answer(
    gateway: Arc<Gateway>,
    identity: Identity,
    instance: Option<InstanceId>,
    query: EventsQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if query.after.is_some_and(|id| id < 0) || query.before.is_some_and(|id| id < 0) {
        return Err(Problem::invalid("after and before are ids of events, from 0 on"));
    }
    if sse::is_accepted(headers) {
        let place = gateway.event_readers.clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::busy("too many readers of live events"))?;
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let committed = *gateway.store.committed().borrow();
        // An id that is still to come is from an earlier life of a gateway that kept nothing.
        let after = last.or(query.after).map_or(committed, |after| after.min(committed));
        return Ok(sse::events(gateway, identity, instance, after, place));
    }
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=HIGHEST_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!("limit is 1 to {HIGHEST_LIMIT}")));
    }
    let before = query.before.unwrap_or(EventId::MAX);
    let part = match query.after {
        Some(after) => Part::Between(after, before),
        None => Part::Before(before),
    };
    let events = gateway.store.events(Page { instance, part, limit }).await?;
    Ok(Json(Events { events }).into_response())
}
