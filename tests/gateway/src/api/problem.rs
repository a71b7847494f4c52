//! Every error of the API is a problem as RFC 9457 describes it.

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::QueryRejection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Denied;
use crate::access::scope::Scope;
use crate::agents::calls::CallError;
use crate::agents::rpc;
use crate::store;

const DOCKER_HAS_NO_SUCH_CONTAINER: i64 = -32001;
const TOOK_TOO_LONG: i64 = -32003;
const BUSY: i64 = -32004;

/// What went wrong, for programs (`type`, `status`) and people (`title`, `detail`).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:vmkit:problem:` and a name that does not change.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub detail: String,
    /// The JSON-RPC error code, where the agent answered with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_code: Option<i64>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub fn new(
        status: StatusCode,
        name: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            kind: format!("urn:vmkit:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            agent_code: None,
            retry_after: None,
        }
    }

    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid-request", "Invalid request", detail)
    }

    pub fn not_found(name: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, name, "Not found", detail)
    }

    pub fn no_instance() -> Problem {
        Problem::not_found("no-such-instance", "no instance has this id")
    }

    pub fn no_key() -> Problem {
        let detail = "give an API key: Authorization: Bearer vmk_…";
        Problem::new(StatusCode::UNAUTHORIZED, "no-valid-key", "No valid API key", detail)
    }

    pub fn lacks(scope: Scope) -> Problem {
        let detail = format!("this API key lacks the scope {}", scope.name());
        Problem::new(StatusCode::FORBIDDEN, "missing-scope", "Missing scope", detail)
    }

    pub fn slow_body() -> Problem {
        let detail = "the body of the request did not come in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Request too slow", detail)
    }

    pub fn busy(detail: impl Into<String>) -> Problem {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "busy", "Busy", detail).retry_after(1)
    }

    fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (status, serde_json::to_string(&self).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Unknown => Problem::no_key(),
            Denied::TooMany { wait } => {
                let (status, detail) = (StatusCode::TOO_MANY_REQUESTS, "too many failed attempts");
                let problem =
                    Problem::new(status, "too-many-attempts", "Too many attempts", detail);
                problem.retry_after(wait.as_secs() + 1)
            }
            Denied::Broken => Problem::busy("the API keys can't be read; try again later"),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        tracing::error!(%error, "reading from the store");
        let (status, detail) = (StatusCode::INTERNAL_SERVER_ERROR, "see the gateway's log");
        Problem::new(status, "internal", "Internal error", detail)
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        let detail = error.to_string();
        let (status, name, title) = match error {
            CallError::Agent(error) => return of_agent(error, detail),
            CallError::Unknown => return Problem::no_instance(),
            CallError::Busy | CallError::TooManyFollowers | CallError::TooManySearches => {
                return Problem::busy(detail);
            }
            CallError::NotConnected => {
                (StatusCode::CONFLICT, "agent-not-connected", "Agent not connected")
            }
            CallError::UpgradeGoingOn(_) => {
                (StatusCode::CONFLICT, "upgrade-going-on", "Upgrade going on")
            }
            CallError::TooOld { .. } => {
                (StatusCode::NOT_IMPLEMENTED, "agent-too-old", "Agent too old")
            }
            CallError::Late => (StatusCode::GATEWAY_TIMEOUT, "agent-too-slow", "Agent too slow"),
            CallError::SessionEnded | CallError::Nonsense(_) => {
                (StatusCode::BAD_GATEWAY, "agent-failed", "Agent failed")
            }
        };
        Problem::new(status, name, title, detail)
    }
}

fn of_agent(error: rpc::Error, detail: String) -> Problem {
    let (status, name) = match error.code {
        rpc::INVALID_PARAMS => (StatusCode::BAD_REQUEST, "agent-refuses-request"),
        DOCKER_HAS_NO_SUCH_CONTAINER => (StatusCode::NOT_FOUND, "no-such-container"),
        TOOK_TOO_LONG => (StatusCode::GATEWAY_TIMEOUT, "agent-too-slow"),
        BUSY => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        _ => (StatusCode::BAD_GATEWAY, "agent-error"),
    };
    let mut problem = Problem::new(status, name, "The agent answered with an error", detail);
    problem.retry_after = (error.code == BUSY).then_some(1);
    Problem { agent_code: Some(error.code), ..problem }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::invalid(rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        let (name, title) = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "Request too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("not-json", "Not JSON"),
            _ => ("invalid-request", "Invalid request"),
        };
        Problem::new(rejection.status(), name, title, rejection.body_text())
    }
}
