//! What is worth telling of an instance later: it came, it was lost, its version changed, an upgrade
//! began or ended. What an event says is fixed when it happens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::register::{InstanceId, RollBack};
use crate::clock::Moment;

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: Moment,
    /// `None`: it concerns the gateway itself.
    pub instance: Option<InstanceId>,
    pub what: What,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    GatewayStarted,
    /// An agent has registered. `replaced` is true where another live session had the same instance
    /// id and was closed: the agent came back before its loss was noticed, or two VMs share an id.
    Connected {
        version: String,
        ip: String,
        replaced: bool,
    },
    Lost {
        reason: String,
    },
    /// Not by an upgrade that this gateway asked for.
    VersionChanged {
        from: String,
        to: String,
    },
    UpgradeRequested {
        version: String,
        /// The name of the API key that asked.
        by: String,
    },
    UpgradeConfirmed {
        version: String,
    },
    UpgradeFailed {
        version: String,
        /// The agent's error code, where the agent refused.
        code: Option<i64>,
        message: String,
    },
    RolledBack {
        #[serde(flatten)]
        roll_back: RollBack,
    },
}
