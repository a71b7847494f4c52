//! Whether an instance is well connected, and if not, since when and why. REST, MCP, the page and
//! the warning all read this one function, so they never disagree.

use serde::Serialize;
use utoipa::ToSchema;

use super::fleet::{Loss, Record};
use crate::clock::Moment;

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Status {
    pub agent_connected: bool,
    /// Since when it is so.
    pub since: Moment,
    /// When the agent was last heard.
    pub last_seen: Moment,
    /// Raised when the agent is lost, cleared by its next register.
    pub warning: Option<Warning>,
    /// The warning before, where the agent is connected again.
    pub last_warning: Option<ClearedWarning>,
    /// Seconds since the latest snapshot.
    pub metrics_age_secs: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Warning {
    pub since: Moment,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClearedWarning {
    pub since: Moment,
    pub cleared_at: Moment,
    pub text: String,
}

pub fn status(record: &Record, now: Moment) -> Status {
    let snapshot = record.snapshot.as_ref();
    let common = Status {
        agent_connected: true,
        since: record.first_seen,
        last_seen: record.last_seen,
        warning: None,
        last_warning: None,
        metrics_age_secs: snapshot.map(|snapshot| now.since(snapshot.at).as_secs()),
    };
    match (&record.live, &record.loss) {
        (Some(live), loss) => {
            Status { since: live.since, last_warning: loss.as_ref().and_then(cleared), ..common }
        }
        (None, loss) => {
            let at = loss.as_ref().map_or(record.last_seen, |loss| loss.at);
            let reason = loss.as_ref().map_or("not connected", |loss| loss.reason.as_str());
            let warning = Warning { since: at, text: format!("agent lost: {reason}") };
            Status { agent_connected: false, since: at, warning: Some(warning), ..common }
        }
    }
}

fn cleared(loss: &Loss) -> Option<ClearedWarning> {
    let text = format!("agent lost: {}", loss.reason);
    loss.cleared_at.map(|cleared_at| ClearedWarning { since: loss.at, cleared_at, text })
}
