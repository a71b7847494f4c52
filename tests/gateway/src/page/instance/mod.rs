//! One instance: `/instances/{id}`, and the form that upgrades its agent.
//!
//! - `facts` what it is; `containers` its containers and disks; `upgrade` what became of the last one, and
//!   the form; `happened` its events in words

mod containers;
mod facts;
mod happened;
mod upgrade;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::layout::{self, Shell, message};
use super::plots::{self, Span};
use super::visitor::{Allowed, Visitor, broken};
use super::{assets, words};
use crate::access::scope::Scope;
use crate::agents::calls::UpgradeOrder;
use crate::agents::fleet::Record;
use crate::agents::health::Health;
use crate::agents::register::InstanceId;
use crate::agents::snapshot::collected_at;
use crate::agents::view::Instance;
use crate::api::extract::Form;
use crate::api::identity::{Operate, Read};
use crate::api::upgrade::{UpgradeRequest, check};
use crate::clock::Moment;
use crate::gateway::Gateway;
use crate::store::events::{EventId, Page, Part, StoredEvent};
use crate::store::history::History;
use upgrade::Attempt;

/// The latest, of those that are kept.
const EVENTS: usize = 50;

#[derive(Default, Deserialize)]
pub struct Wish {
    range: Option<Span>,
    part: Option<What>,
}

/// `live`: what changes every second, which is all but the history.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum What {
    Live,
}

/// Everything that the page shows.
struct Seen {
    instance: Instance,
    record: Record,
    health: Health,
    /// By the agent's clock.
    collected_at: Moment,
    events: Vec<StoredEvent>,
    history: Option<History>,
    span: Span,
    now: Moment,
}

pub async fn show(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Query(wish): Query<Wish>,
) -> Result<Markup, Response> {
    let seen = look(&gateway, &visitor, &id, &wish).await?;
    Ok(page(&gateway, &visitor, &seen, &Attempt::default()))
}

/// Whoever may do this is as good as root on the VM.
pub async fn upgrade(
    Allowed { visitor, .. }: Allowed<Operate>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Form(request): Form<UpgradeRequest>,
) -> Result<Response, Response> {
    let request = request.trimmed();
    let asked = check(&request).map_err(|why| (StatusCode::BAD_REQUEST, why.to_owned()));
    let asked = asked.and_then(|()| {
        let order = UpgradeOrder {
            version: request.version.clone(),
            download_url: request.download_url.clone(),
            checksum_sha256: request.checksum_sha256.clone(),
        };
        let asked = gateway.upgrade(&id, order, visitor.identity.name.clone());
        asked.map_err(|error| (StatusCode::CONFLICT, error.to_string()))
    });
    let (status, failure) = match asked {
        Ok(_) => {
            let path = format!("{}#upgrade", words::instance_path(id.as_str()));
            return Ok((StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response());
        }
        Err(refused) => refused,
    };
    if !visitor.may(Scope::Read) {
        return Err(message(status, "Not upgraded", &failure, Some(&visitor)));
    }
    let seen = look(&gateway, &visitor, &id, &Wish::default()).await?;
    let attempt = Attempt { request: Some(request), failure: Some(failure) };
    Ok((status, page(&gateway, &visitor, &seen, &attempt)).into_response())
}

async fn look(
    gateway: &Gateway,
    visitor: &Visitor,
    id: &InstanceId,
    wish: &Wish,
) -> Result<Seen, Response> {
    let now = Moment::now();
    let found = gateway
        .agents
        .read(|fleet| fleet.get(id).map(|record| (Instance::of(record, now), record.clone())));
    let Some((instance, record)) = found else {
        let words = "No instance with this name has ever registered here.";
        return Err(message(StatusCode::NOT_FOUND, "Not found", words, Some(visitor)));
    };
    let text = record.snapshot.as_ref().map(|snapshot| snapshot.text.get());
    let told: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let part = Part::Before(EventId::MAX);
    let events = Page { instance: Some(id.clone()), part, limit: EVENTS };
    let events = gateway.store.events(events).await.map_err(|_| broken())?;
    let span = wish.range.unwrap_or_default();
    let history = match wish.part {
        Some(What::Live) => None,
        None => {
            let history = gateway.store.history(id.clone(), span.range(now)).await;
            history.map_err(|_| broken())?
        }
    };
    let health = Health::read(&told);
    let collected_at = collected_at(&told).unwrap_or(now);
    Ok(Seen { instance, record, health, collected_at, events, history, span, now })
}

fn page(gateway: &Gateway, visitor: &Visitor, seen: &Seen, attempt: &Attempt) -> Markup {
    let id = &seen.instance.common.id;
    let warnings = gateway.live.warnings();
    let shell = Shell {
        title: id.as_str(),
        visitor: Some(visitor),
        warnings: Some(&warnings),
        scripts: &["plots.js"],
    };
    let topic = format!("instance:{id}");
    layout::page(
        &shell,
        html! {
            link rel="stylesheet" href=(assets::path("instance.css"));
            link rel="stylesheet" href=(assets::path("plots.css"));
            div.instance data-topic=(topic) {
                (facts::head(seen))
                @if let Some(history) = &seen.history { (plots::section(id, seen.span, history)) }
                (containers::containers(seen, visitor.may(Scope::Logs)))
                div.halves {
                    div {
                        (containers::disks(seen))
                        (upgrade::section(seen, visitor, attempt))
                    }
                    (facts::facts(seen))
                }
                (happened::section(seen))
            }
        },
    )
}
