//! One instance's upgrade: what was asked of it, and what became of that. Pure.
//!
//! ```text
//! asked -> downloading -> restarting -> confirmed       by the register with the new version
//!   |          |              |-------> rolled_back     told by the agent, now or at a later register
//!   '----------'--------------'-------> failed          not sent, refused, or neither within its time
//! ```
//! The agent goes on with an upgrade whose session ends, so a lost session changes nothing here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::What;
use super::register::{Register, RollBack};
use super::rpc;
use crate::clock::Moment;

/// A download has 600 s, a probation 120 s where nobody has set another time; then the way back.
pub const OVERDUE: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Upgrade {
    pub version: String,
    pub checksum_sha256: String,
    /// The name of the API key that asked.
    pub requested_by: String,
    pub requested_at: Moment,
    #[serde(flatten)]
    pub stage: Stage,
    /// When it came to this stage.
    pub since: Moment,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    Asked,
    Downloading {
        bytes: u64,
        total: Option<u64>,
    },
    /// The agent has replaced its binary; the new one has to register.
    Restarting,
    Confirmed,
    Failed {
        code: Option<i64>,
        message: String,
    },
    RolledBack {
        cause: Option<String>,
        reason: String,
    },
}

impl Upgrade {
    pub fn asked(version: String, checksum_sha256: String, by: String, now: Moment) -> Upgrade {
        let stage = Stage::Asked;
        let requested_by = by;
        Upgrade { version, checksum_sha256, requested_by, requested_at: now, stage, since: now }
    }

    pub fn is_going_on(&self) -> bool {
        matches!(self.stage, Stage::Asked | Stage::Downloading { .. } | Stage::Restarting)
    }

    pub fn progressed(&mut self, bytes: u64, total: Option<u64>, now: Moment) {
        if matches!(self.stage, Stage::Asked | Stage::Downloading { .. }) {
            self.go_to(Stage::Downloading { bytes, total }, now);
        }
    }

    /// The agent's answer to `agent_upgrade`. That the session ended before is no answer.
    pub fn answered(&mut self, outcome: Result<(), rpc::Error>, now: Moment) -> Option<What> {
        match outcome {
            Ok(()) if matches!(self.stage, Stage::Asked | Stage::Downloading { .. }) => {
                self.go_to(Stage::Restarting, now);
                None
            }
            Err(error) if self.is_going_on() => {
                Some(self.fail(Some(error.code), error.message, now))
            }
            _ => None,
        }
    }

    /// `before` is the version that ran until now.
    pub fn registered(&mut self, register: &Register, before: &str, now: Moment) -> Option<What> {
        let is_new = register.version == self.version
            && (before != self.version || self.is_told_by(register));
        (self.is_going_on() && is_new).then(|| {
            self.go_to(Stage::Confirmed, now);
            What::UpgradeConfirmed { version: self.version.clone() }
        })
    }

    /// Whether the new binary registers, where the old one has the same version.
    fn is_told_by(&self, register: &Register) -> bool {
        let state = register.upgrade.as_ref();
        let probation = state.and_then(|state| state.probation.as_ref());
        let given_up = state.is_some_and(|state| {
            state.rolled_back.iter().any(|roll_back| self.is_given_up_by(roll_back))
        });
        probation.is_some_and(|probation| probation.version == self.version)
            || self.stage == Stage::Restarting && !given_up
    }

    /// The roll-back itself is an event in any case, so here it is none.
    pub fn rolled_back(&mut self, roll_back: &RollBack, now: Moment) {
        if self.is_given_up_by(roll_back) {
            let (cause, reason) = (roll_back.cause.clone(), roll_back.reason.clone());
            self.go_to(Stage::RolledBack { cause, reason }, now);
        }
    }

    /// The agent has not been asked, and will not be.
    pub fn unsent(&mut self, now: Moment) -> Option<What> {
        let why =
            "the order was not sent: the agent's session ended, or the agent owed too many answers";
        self.is_going_on().then(|| self.fail(None, why.to_owned(), now))
    }

    pub fn overdue(&mut self, now: Moment) -> Option<What> {
        let minutes = OVERDUE.as_secs() / 60;
        let message = format!("the agent has not registered as {} in {minutes} min", self.version);
        self.is_going_on().then(|| self.fail(None, message, now))
    }

    /// By this roll-back or an earlier one of the same binary.
    fn is_given_up_by(&self, roll_back: &RollBack) -> bool {
        roll_back.checksum_sha256.eq_ignore_ascii_case(&self.checksum_sha256)
    }

    fn fail(&mut self, code: Option<i64>, message: String, now: Moment) -> What {
        self.go_to(Stage::Failed { code, message: message.clone() }, now);
        What::UpgradeFailed { version: self.version.clone(), code, message }
    }

    fn go_to(&mut self, stage: Stage, now: Moment) {
        (self.stage, self.since) = (stage, now);
    }
}
