//! `GET /api/instances` and `GET /api/instances/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::identity::{May, Read};
use super::problem::Problem;
use crate::agents::fleet::Record;
use crate::agents::register::InstanceId;
use crate::agents::view::{Instance, Summary, weight};
use crate::clock::Moment;
use crate::gateway::Gateway;

const LIMIT: usize = 100;
const HIGHEST_LIMIT: usize = 1000;
/// Of a page in bytes, about: one that would be larger ends before its limit.
const WEIGHT: usize = 1 << 20;
/// Of one request's label filters.
const FILTERS: usize = 16;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `NAME=VALUE`: only instances with this label. Given more than once, all must be there.
    #[serde(default)]
    #[param(max_items = 16, pattern = "^[^=]+=")]
    label: Vec<String>,
    /// Only instances with an id after this one: `next` of the page before.
    after: Option<InstanceId>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct Page {
    /// In the order of their ids: as many as the limit, or fewer where that would be over 1 MiB.
    pub instances: Vec<Summary>,
    /// `after` of the next page; null on the last.
    pub next: Option<InstanceId>,
}

/// All instances that have ever registered, in pages.
#[utoipa::path(
    get, path = "/api/instances", tag = "instances", security(("key" = ["read"])),
    params(ListQuery),
    responses((status = 200, body = Page), (status = "default", response = crate::api::Failed)),
)]
pub async fn list(
    _: May<Read>,
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Problem> {
    let labels = query.label.iter().map(|label| label.split_once('='));
    let is_named = |label: &(&str, &str)| !label.0.is_empty();
    let labels: Option<Vec<(&str, &str)>> = labels.map(|label| label.filter(is_named)).collect();
    let labels = labels.ok_or_else(|| Problem::invalid("label is not NAME=VALUE"))?;
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=HIGHEST_LIMIT).contains(&limit) || labels.len() > FILTERS {
        let most = format!("limit is 1 to {HIGHEST_LIMIT}, label at most {FILTERS} times");
        return Err(Problem::invalid(most));
    }
    Ok(Json(page(&gateway, &labels, query.after.as_ref(), limit)))
}

/// Everything about one instance.
#[utoipa::path(
    get, path = "/api/instances/{id}", tag = "instances", security(("key" = ["read"])),
    params(("id" = InstanceId, Path)),
    responses((status = 200, body = Instance), (status = "default", response = crate::api::Failed)),
)]
pub async fn one(
    _: May<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
) -> Result<Json<Instance>, Problem> {
    let now = Moment::now();
    let found = gateway.agents.read(|fleet| fleet.get(&id).map(|record| Instance::of(record, now)));
    found.map(Json).ok_or_else(Problem::no_instance)
}

pub fn page(
    gateway: &Gateway,
    labels: &[(&str, &str)],
    after: Option<&InstanceId>,
    limit: usize,
) -> Page {
    let now = Moment::now();
    let has_labels = |record: &&Record| {
        let has = |(name, value): &(&str, &str)| {
            record.register.labels.get(*name).is_some_and(|there| there == value)
        };
        labels.iter().all(has)
    };
    let (mut instances, mut total, mut more) = (Vec::new(), 0, false);
    gateway.agents.read(|fleet| {
        for record in fleet.after(after).filter(has_labels) {
            total += weight(record);
            more = instances.len() == limit || (total > WEIGHT && !instances.is_empty());
            if more {
                break;
            }
            instances.push(Summary::of(record, now));
        }
    });
    let next = instances.last().filter(|_| more).map(|last: &Summary| last.common.id.clone());
    Page { instances, next }
}
