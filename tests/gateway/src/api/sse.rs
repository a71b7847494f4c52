//! Server-sent events: a container's lines, and what happens to the fleet. Each stream ends when its
//! key is revoked or the gateway ends, and a client that goes away ends it at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use utoipa::ToSchema;

use crate::access::Identity;
use crate::agents::calls::Followed;
use crate::agents::register::InstanceId;
use crate::agents::tail::{Ending, Lines};
use crate::gateway::Gateway;
use crate::store::events::{EventId, Page, Part, StoredEvent};

/// An event of a container's log, as the stream has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its schema is all there is to it")]
pub struct LogMessage {
    event: LogMessageKind,
    /// JSON. Of `lines`: `{"lines": […], "dropped": 0}`. Of `end`: `{"ended": "container"}`, or another
    /// reason, with a `detail`.
    data: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum LogMessageKind {
    Lines,
    End,
}

/// An event of the fleet, as the stream has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its schema is all there is to it")]
pub struct EventMessage {
    /// Of the event: send the last one as `Last-Event-ID` to go on after it.
    #[schema(pattern = "^[0-9]+$")]
    id: String,
    /// JSON, as an event of the list.
    data: String,
}

/// Proxies end a connection that is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two reads of a store that can't be read.
const PAUSE: Duration = Duration::from_secs(1);
/// Read from the store at once.
const EVENTS: usize = 100;

pub fn is_accepted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

/// `first` is what has come already.
pub fn lines(
    gateway: Arc<Gateway>,
    identity: Identity,
    first: Option<Result<Lines, Ending>>,
    followed: Followed,
) -> Response {
    struct State {
        first: Option<Result<Lines, Ending>>,
        followed: Option<Followed>,
    }
    let state = State { first, followed: Some(followed) };
    let lines = stream::unfold(state, |mut state| async move {
        let followed = state.followed.as_mut()?;
        let next = match state.first.take() {
            Some(first) => first,
            None => followed.next().await,
        };
        let event = match next {
            Ok(lines) => Event::default().event("lines").json_data(lines),
            Err(ending) => {
                state.followed = None;
                Event::default().event("end").json_data(self::ending(&ending))
            }
        };
        Some((event, state))
    });
    respond(gateway, identity, lines)
}

pub fn ending(ending: &Ending) -> serde_json::Value {
    match ending {
        Ending::Ended(why) => json!({"ended": why}),
        Ending::SessionEnded => json!({"ended": "session", "detail": "the agent is lost"}),
        Ending::Refused(error) => {
            json!({"ended": "error", "agent_code": error.code, "detail": error.message})
        }
    }
}

/// All events after `after`, and then each as it is committed: what is told here is on disk.
pub fn events(
    gateway: Arc<Gateway>,
    identity: Identity,
    instance: Option<InstanceId>,
    after: EventId,
    place: OwnedSemaphorePermit,
) -> Response {
    struct State {
        gateway: Arc<Gateway>,
        instance: Option<InstanceId>,
        after: EventId,
        read: std::vec::IntoIter<StoredEvent>,
        _place: OwnedSemaphorePermit,
    }
    let read = Vec::new().into_iter();
    let state = State { gateway: gateway.clone(), instance, after, read, _place: place };
    let events = stream::unfold(state, |mut state| async move {
        let mut committed = state.gateway.store.committed();
        loop {
            if let Some(event) = state.read.next() {
                state.after = event.id;
                let told = Event::default().id(event.id.to_string()).json_data(&event);
                return Some((told, state));
            }
            // Seen before it is read, so that nothing that is committed meanwhile is missed.
            let last = *committed.borrow_and_update();
            let part = Part::After(state.after);
            let page = Page { instance: state.instance.clone(), part, limit: EVENTS };
            match state.gateway.store.events(page).await {
                Ok(events) if events.is_empty() => {
                    state.after = state.after.max(last);
                    committed.changed().await.ok()?;
                }
                Ok(events) => state.read = events.into_iter(),
                Err(_) => sleep(PAUSE).await,
            }
        }
    });
    respond(gateway, identity, events)
}

fn respond(
    gateway: Arc<Gateway>,
    identity: Identity,
    events: impl Stream<Item = Result<Event, axum::Error>> + Send + 'static,
) -> Response {
    use futures_util::StreamExt;

    let events = events.filter_map(async |event| event.ok().map(Ok::<_, Infallible>));
    let events = events.take_until(no_longer_allowed(gateway, identity));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(keep_alive).into_response()
}

/// Returns when the key is revoked, or the gateway ends.
pub async fn no_longer_allowed(gateway: Arc<Gateway>, identity: Identity) {
    let mut ending = gateway.ending.subscribe();
    tokio::select! {
        () = gateway.access.until_refused(&identity) => {}
        _ = ending.changed() => {}
    }
}
