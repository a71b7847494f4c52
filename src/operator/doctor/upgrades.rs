//! The upgrade state: a version on trial, or versions that were rolled back.

use std::fs;
use std::io::ErrorKind;

use super::report::Report;
use super::service::Service;
use crate::host::paths;
use crate::host::timestamp::Timestamp;
use crate::upgrade::state::{RolledBack, Stage, Trial};
use crate::upgrade::store::Store;

const CHECK: &str = "upgrade-state";

pub fn check(service: &Service, report: &mut Report) {
    let folder = fs::read_dir(paths::STATE);
    if folder.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return report.skip(CHECK, format!("only root can read {}", paths::STATE));
    }
    let Some((path, state)) = Store::look(&service.installed) else {
        return report.pass(CHECK, "no trial, no roll-back");
    };
    let shown = path.display();
    let state = match state {
        Ok(state) => state,
        Err(why) => {
            return report.warn(CHECK, format!("{shown}: {why}"), format!("sudo cat {shown}"));
        }
    };
    let log = service.log_command();
    if let Some(trial) = state.trial {
        on_trial(&trial, log, report);
    } else if let Some(version) = state.unfinished {
        let seen = format!("an upgrade to {version} is under way, or was cut short");
        report.warn(CHECK, seen, log);
    } else if let Some(last) = state.rolled_back.last() {
        // The machine is well: the version before runs.
        report.warn(CHECK, rolled_back(last), log);
    } else {
        report.pass(CHECK, "no trial, no roll-back");
    }
}

fn on_trial(trial: &Trial, log: String, report: &mut Report) {
    let Trial { version, starts, probation, stage, .. } = trial;
    if let Stage::RollingBack { reason, .. } = stage {
        let seen = format!("version {version} is being rolled back: {reason}");
        return report.fail(CHECK, seen, log);
    }
    let left = match trial.left().map(|left| left.as_secs()) {
        Some(0) => "its time is over".to_owned(),
        Some(left) => format!("{left} s left of {probation} s"),
        None => format!("{probation} s from its first start after the reboot"),
    };
    let seen = format!(
        "version {version} is on probation, started {starts} times, {left}: the agent rolls it back \
         unless the gateway accepts it"
    );
    report.warn(CHECK, seen, log);
}

fn rolled_back(last: &RolledBack) -> String {
    let RolledBack { version, reason, at, banned, .. } = last;
    let at = Timestamp::from_unix(*at);
    let banned = match banned {
        true => "; this binary is refused until another upgrade succeeds",
        false => "",
    };
    format!(
        "version {version} was rolled back at {at}: {reason}; the previous version is installed{banned}"
    )
}
