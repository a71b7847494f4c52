//! The state of upgrades as `register` tells it in every session, so that no gateway can miss a
//! roll-back.

use serde::Serialize;

use super::request::{Checksum, Version};
use super::state::{Cause, RolledBack, Trial};
use crate::host::timestamp::Timestamp;

/// At most so many roll-backs are told, the newest.
const MOST: usize = 8;

#[derive(Serialize)]
pub struct Told<'a> {
    probation: Option<OnTrial<'a>>,
    rolled_back: Vec<Past<'a>>,
}

#[derive(Serialize)]
struct OnTrial<'a> {
    version: &'a Version,
    seconds_left: u64,
}

#[derive(Serialize)]
struct Past<'a> {
    version: &'a Version,
    checksum_sha256: &'a Checksum,
    reason: &'a str,
    cause: Cause,
    banned: bool,
    at: String,
}

impl Told<'_> {
    pub fn new<'a>(trial: Option<&'a Trial>, rolled_back: &'a [RolledBack]) -> Told<'a> {
        let more = rolled_back.len().saturating_sub(MOST);
        Told {
            probation: trial.map(|trial| OnTrial {
                version: &trial.version,
                // No time is left where the trial began in another boot: its start there is over.
                seconds_left: trial.left().map_or(0, |left| left.as_secs()),
            }),
            rolled_back: rolled_back.iter().skip(more).map(past).collect(),
        }
    }
}

fn past(rolled_back: &RolledBack) -> Past<'_> {
    let RolledBack { version, checksum, reason, cause, banned, at, .. } = rolled_back;
    Past {
        version,
        checksum_sha256: checksum,
        reason,
        cause: *cause,
        banned: *banned,
        at: Timestamp::from_unix(*at).to_string(),
    }
}
