//! What the agent remembers of its upgrades: one that is on trial, one that was rolled back.

use super::report::Report;
use super::service::Service;
use crate::host::timestamp::Timestamp;
use crate::upgrade::state::{RolledBack, Stage, State, Trial};
use crate::upgrade::store::Store;

pub fn check(service: &Service, report: &mut Report) {
    const CHECK: &str = "upgrade-state";
    let log = service.log_command();
    let Some((path, state)) = Store::look(&service.installed) else {
        return report.pass(CHECK, "nothing under way, nothing rolled back");
    };
    let shown = path.display();
    let state = match state {
        Ok(state) => state,
        Err(why) => return report.warn(CHECK, format!("{shown}: {why}"), format!("cat {shown}")),
    };
    match state {
        State {
            trial: Some(Trial { version, stage: Stage::RollingBack { reason, .. }, .. }),
            ..
        } => {
            let seen = format!("version {version} is being rolled back: {reason}");
            report.fail(CHECK, seen, log);
        }
        State { trial: Some(trial), .. } => {
            let Trial { version, starts, probation, .. } = trial;
            let seen = format!(
                "version {version} is on probation, start {starts}: rolled back unless the \
                 gateway acknowledges it within {probation} s"
            );
            report.warn(CHECK, seen, log);
        }
        State { unfinished: Some(version), .. } => {
            report.warn(
                CHECK,
                format!("an upgrade to {version} is under way, or was cut short"),
                log,
            );
        }
        State { rolled_back, .. } => match rolled_back.last() {
            Some(RolledBack { version, reason, at, .. }) => {
                let at = Timestamp::from_unix(*at);
                let seen = format!(
                    "version {version} was rolled back at {at}: {reason}; the one before it runs"
                );
                report.fail(CHECK, seen, log);
            }
            None => report.pass(CHECK, "nothing under way, nothing rolled back"),
        },
    }
}
