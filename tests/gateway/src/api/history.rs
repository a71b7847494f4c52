//! `GET /api/instances/{id}/history`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::identity::{May, Read};
use super::problem::Problem;
use crate::agents::register::InstanceId;
use crate::clock::Moment;
use crate::gateway::Gateway;
use crate::store::history::{History, Range, Step, gap};

const DAY_SECS: i64 = 24 * 3600;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// From point to point. Default: the finest that is kept back to `from`.
    step: Option<Step>,
    /// Default: a day before `to`. A later time than `to` is taken as `to`.
    from: Option<Moment>,
    /// Default: now.
    to: Option<Moment>,
}

/// How an instance was: a point a minute for 24 hours, ten minutes for a week, an hour for 30 days.
#[utoipa::path(
    get, path = "/api/instances/{id}/history", tag = "instances", security(("key" = ["read"])),
    params(("id" = InstanceId, Path), HistoryQuery),
    responses((status = 200, body = History), (status = "default", response = crate::api::Failed)),
)]
pub async fn history(
    _: May<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let now = Moment::now();
    let to = query.to.unwrap_or(now);
    let from = query.from.unwrap_or(Moment::from_secs(to.secs() - DAY_SECS));
    let from = from.min(to);
    let reaches = |step: &Step| now.secs() - from.secs() <= step.kept_secs();
    let finest = Step::ALL.into_iter().find(reaches).unwrap_or(Step::Hour);
    let range = Range::new(query.step.unwrap_or(finest), from, to);
    if gateway.agents.read(|fleet| fleet.get(&id).is_none()) {
        return Err(Problem::no_instance());
    }
    let history = gateway.store.history(id, range).await?;
    // One that has just registered has no history yet, which is a gap too.
    Ok(Json(history.unwrap_or_else(|| gap(range))))
}
