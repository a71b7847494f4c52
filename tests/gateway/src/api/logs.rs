//! A container's logs, once or live: `GET /api/instances/{id}/logs` and `GET /api/deploys/{id}/logs`.
//!
//! A deploy is one container on one instance. The instance has the label `vmkit.deploy` with the
//! deploy's id; the container has the name in the instance's label `vmkit.container`, or, without that
//! label, the deploy's id as its name.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::identity::{Logs, May};
use super::problem::Problem;
use super::sse;
use crate::access::Identity;
use crate::agents::calls::{self, LogQuery};
use crate::agents::fleet::Record;
use crate::agents::register::InstanceId;
use crate::agents::tail::Ending;
use crate::gateway::Gateway;

const LINES: u32 = 100;
const HIGHEST_LINES: u32 = 5000;
const NAME_LIMIT: usize = 128;
pub const DEPLOY: &str = "vmkit.deploy";
const CONTAINER: &str = "vmkit.container";
/// In which an agent that can't follow says so; then the stream begins.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InstanceLogsQuery {
    /// The container's name or id.
    #[param(pattern = "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", max_length = 128, example = "web")]
    container: String,
    /// How many of the last lines.
    #[param(minimum = 1, maximum = 5000, default = 100)]
    lines: Option<u32>,
    /// Leaves out what is older.
    #[param(format = DateTime)]
    since: Option<String>,
    /// `1`: live, as server-sent events. So does `Accept: text/event-stream`.
    follow: Option<Follow>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeployLogsQuery {
    /// How many of the last lines.
    #[param(minimum = 1, maximum = 5000, default = 100)]
    lines: Option<u32>,
    /// Leaves out what is older.
    #[param(format = DateTime)]
    since: Option<String>,
    /// `1`: live, as server-sent events. So does `Accept: text/event-stream`.
    follow: Option<Follow>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, ToSchema)]
pub enum Follow {
    #[serde(rename = "0")]
    No,
    #[serde(rename = "1")]
    Yes,
}

/// The last lines that a container has written, standard output and standard error merged by time.
///
/// Live, each event `lines` has `lines` and `dropped`, how many older lines were left out before them
/// because they were not taken fast enough; the event `end` says why it is the last.
#[utoipa::path(
    get, path = "/api/instances/{id}/logs", tag = "logs", security(("key" = ["logs"])),
    params(("id" = InstanceId, Path), InstanceLogsQuery),
    responses(
        (status = 200, content(
            (calls::Logs = "application/json"),
            (sse::LogMessage = "text/event-stream"),
        )),
        (status = "default", response = crate::api::Failed),
    ),
)]
pub async fn of_instance(
    May { identity, .. }: May<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Query(query): Query<InstanceLogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let live = is_live(query.follow, &headers);
    let query = log_query(query.container, query.lines, query.since)?;
    answer(&gateway, identity, &id, query, live).await
}

/// The same of a deploy: the container named by the labels of its instance. Of several instances with
/// the deploy's label the only one that is connected counts, and where none is, the one seen last.
///
/// Labels are the agent's own word. Whoever has an agent token can claim a deploy with it, also where the
/// token is bound to one instance.
#[utoipa::path(
    get, path = "/api/deploys/{id}/logs", tag = "logs", security(("key" = ["logs"])),
    params(("id" = String, Path, description = "The value of the label `vmkit.deploy`.", example = "shop"), DeployLogsQuery),
    responses(
        (status = 200, content(
            (calls::Logs = "application/json"),
            (sse::LogMessage = "text/event-stream"),
        )),
        (status = "default", response = crate::api::Failed),
    ),
)]
pub async fn of_deploy(
    May { identity, .. }: May<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path(deploy): Path<String>,
    Query(query): Query<DeployLogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, container) = find(&gateway, &deploy)?;
    let live = is_live(query.follow, &headers);
    let query = log_query(container, query.lines, query.since)?;
    answer(&gateway, identity, &id, query, live).await
}

fn is_live(follow: Option<Follow>, headers: &HeaderMap) -> bool {
    follow == Some(Follow::Yes) || (follow.is_none() && sse::is_accepted(headers))
}

pub fn log_query(
    container: String,
    lines: Option<u32>,
    since: Option<String>,
) -> Result<LogQuery, Problem> {
    let lines = lines.unwrap_or(LINES);
    if !(1..=HIGHEST_LINES).contains(&lines) {
        return Err(Problem::invalid(format!("lines is 1 to {HIGHEST_LINES}")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts = container.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || container.len() > NAME_LIMIT || !container.chars().all(allowed) {
        return Err(Problem::invalid("container is not the name or id of a container"));
    }
    let since = since.map(|since| OffsetDateTime::parse(&since, &Rfc3339)).transpose();
    let since = since.map_err(|_| Problem::invalid("since is not a time as RFC 3339 writes it"))?;
    Ok(LogQuery { container, lines, since })
}

async fn answer(
    gateway: &Arc<Gateway>,
    identity: Identity,
    id: &InstanceId,
    query: LogQuery,
    live: bool,
) -> Result<Response, Problem> {
    if !live {
        return Ok(Json(gateway.logs(id, &query).await?).into_response());
    }
    let mut followed = gateway.follow(id, &query)?;
    let first = match timeout(REFUSAL_PATIENCE, followed.next()).await {
        Ok(Err(Ending::Refused(error))) => return Err(calls::CallError::Agent(error).into()),
        Ok(first) => Some(first),
        Err(_) => None,
    };
    Ok(sse::lines(gateway.clone(), identity, first, followed))
}

/// The instance of a deploy, and the name of its container. A machine that was replaced is known for a
/// while yet: the one that is connected counts, and where none is, the one that was seen last.
pub fn find(gateway: &Gateway, deploy: &str) -> Result<(InstanceId, String), Problem> {
    gateway.agents.read(|fleet| {
        let is_its = |record: &Record| {
            record.register.labels.get(DEPLOY).is_some_and(|label| label == deploy)
        };
        let its: Vec<&Record> = fleet.iter().filter(|record| is_its(record)).collect();
        let mut connected = its.iter().filter(|record| record.live.is_some());
        if let (Some(one), Some(other)) = (connected.next(), connected.next()) {
            return Err(ambiguous(&one.register.instance_id, &other.register.instance_id));
        }
        let found = its.iter().max_by_key(|record| (record.live.is_some(), record.last_seen));
        let register = &found.ok_or_else(no_such_deploy)?.register;
        let container = register.labels.get(CONTAINER).map_or(deploy, String::as_str);
        Ok((register.instance_id.clone(), container.to_owned()))
    })
}

fn no_such_deploy() -> Problem {
    let detail = format!("no instance has the label {DEPLOY} with this value");
    Problem::not_found("no-such-deploy", detail)
}

fn ambiguous(one: &InstanceId, other: &InstanceId) -> Problem {
    let detail =
        format!("{one} and {other} are connected and have the label {DEPLOY} with this value");
    Problem::new(StatusCode::CONFLICT, "ambiguous-deploy", "Ambiguous deploy", detail)
}
