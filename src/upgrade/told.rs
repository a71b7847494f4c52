//! The state of upgrades as `register` tells it in every session, so that no gateway can miss a
//! roll-back.

use serde::Serialize;

use super::request::Version;
use super::state::{ROLLED_BACK, Report, RolledBack, Trial};

#[derive(Serialize)]
pub struct Told<'a> {
    probation: Option<OnTrial<'a>>,
    /// The newest last.
    rolled_back: Vec<Report<'a>>,
}

#[derive(Serialize)]
struct OnTrial<'a> {
    version: &'a Version,
    seconds_left: u64,
}

impl Told<'_> {
    pub fn new<'a>(trial: Option<&'a Trial>, rolled_back: &'a [RolledBack]) -> Told<'a> {
        // A state file of another version may hold more.
        let more = rolled_back.len().saturating_sub(ROLLED_BACK);
        Told {
            probation: trial.map(|trial| OnTrial {
                version: &trial.version,
                // No time is left where the trial began in another boot: its start there is over.
                seconds_left: trial.left().map_or(0, |left| left.as_secs()),
            }),
            rolled_back: rolled_back.iter().skip(more).map(RolledBack::dated_report).collect(),
        }
    }
}
