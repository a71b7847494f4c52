//! From the swap to the verdict: a new binary is confirmed by the first acknowledged `register`,
//! else the previous one is put back. Each step is written down before it is taken, so a process
//! that dies in between leaves something that the next one goes on with.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use super::state::{Lock, Moment, Refused, Stage, State, Store, Trial};
use super::{Checksum, Version, beside, download_path, guard, installed, staged, swap};
use crate::host::timestamp::Timestamp;
use crate::run::job::Children;
use crate::wire::rpc;

/// So many starts may come to nothing.
const STARTS: u32 = 3;
/// So many versions that were rolled back are remembered.
const REFUSED: usize = 8;

/// What the agent knows of its own upgrades. Read once, at the start: every other process that
/// changes it restarts the agent.
pub struct Probation {
    store: Store,
    /// Of this very binary, until it is confirmed.
    trial: Option<Trial>,
    refused: Vec<Refused>,
}

/// A trial that ended well.
pub struct Confirmed {
    pub version: Version,
    /// To be run, and not waited for.
    pub call_off: Option<Vec<OsString>>,
}

/// What a start finds.
#[derive(PartialEq, Eq, Debug)]
enum Finding {
    /// No trial.
    Nothing,
    /// One that is over, with a watch that may not know.
    Over,
    /// This binary is on trial; `watch` is for how long it is to be watched from now on, where
    /// the guard may be gone.
    OnTrial { trial: Trial, watch: Duration, rebooted: bool },
    /// This binary is to be given up.
    GivenUp { checksum: Checksum, reason: String },
}

/// To be called at every start, before the first session: counts it, cleans up after upgrades that
/// were cut short, keeps the watch going. A binary that has failed too often is replaced by the
/// previous one in this very process.
///
/// # Errors
/// When the previous binary is back but can't be executed.
pub fn on_start(children: &Rc<Children>) -> io::Result<Probation> {
    let installed = match installed() {
        Ok(installed) => installed,
        Err(error) => {
            log::warn!("{error}");
            let gone = fs::read_link("/proc/self/exe").unwrap_or_default();
            return Ok(Probation { store: Store::find(&gone), trial: None, refused: Vec::new() });
        }
    };
    let store = Store::find(&installed);
    let own = || swap::checksum(Path::new("/proc/self/exe"));
    match settle(&store, &installed, own) {
        finding @ (Finding::Nothing | Finding::Over) => {
            if finding == Finding::Over {
                guard::call_off_now(children);
            }
            let refused = store.read().refused;
            for refused in refused.iter().filter(|refused| !refused.reported) {
                // The guard has said so in a journal of its own.
                log::warn!("{}", refused.error());
            }
            Ok(Probation { store, trial: None, refused })
        }
        Finding::OnTrial { trial, watch, rebooted } => {
            log::info!(
                "version {} is on probation, start {}: rolled back in {} s unless the gateway \
                 acknowledges its register",
                trial.version,
                trial.starts,
                watch.as_secs()
            );
            // A timer of systemd's is lost with the machine only.
            let gone = rebooted || !guard::has_timers();
            let armed = if gone { guard::arm(&trial, &store, watch, children) } else { Ok(()) };
            if let Err(error) = armed {
                log::error!("nobody watches over this version's probation: {error}");
            }
            let refused = store.read().refused;
            Ok(Probation { store, trial: Some(trial), refused })
        }
        Finding::GivenUp { checksum, reason } => match roll_back(&store, &checksum, &reason) {
            Ok(Some(trial)) => {
                guard::call_off_now(children);
                Err(Command::new(trial.installed).args(std::env::args_os().skip(1)).exec())
            }
            Ok(None) => {
                let refused = store.read().refused;
                Ok(Probation { store, trial: None, refused })
            }
            // Better this version than none.
            Err(error) => {
                log::error!("{error}");
                Ok(Probation { store, trial: None, refused: Vec::new() })
            }
        },
    }
}

/// Finds out what the last processes have left, puts it in order, and counts this start.
fn settle(store: &Store, installed: &Path, own: impl FnOnce() -> io::Result<Checksum>) -> Finding {
    // Where the folder is missing there is nothing to clean either.
    let _ = store.clean();
    // One that is still at work, started by hand, cleans up by itself.
    if store.read().unfinished.is_some()
        && let Ok(_lock) = Lock::inherit(installed)
        && let Some(version) = store.read().unfinished
    {
        log::info!("cleaning up after an upgrade to version {version} that was cut short");
        clean(installed, &version);
        change(store, |state| state.unfinished = None);
    }
    let state = store.read();
    // Another agent's, which shares the folder, is its own business.
    let Some(trial) = state.trial.filter(|trial| trial.installed == installed) else {
        return Finding::Nothing;
    };
    let own = match own() {
        Ok(own) => own,
        Err(error) => {
            log::error!("can't tell whether this version is on probation: {error}");
            return Finding::Nothing;
        }
    };
    if own != trial.checksum {
        clean(installed, &trial.version);
        match &trial.stage {
            Stage::Staged => {
                log::info!("version {} never got into place; it is forgotten", trial.version);
                change(store, |state| state.trial = None);
            }
            Stage::RollingBack { reason } => change(store, |state| refuse(state, &trial, reason)),
        }
        return Finding::Over;
    }
    let checksum = trial.checksum;
    if let Stage::RollingBack { reason } = trial.stage {
        return Finding::GivenUp { checksum, reason };
    }
    if trial.starts >= STARTS {
        return Finding::GivenUp { checksum, reason: format!("crashed {STARTS} times") };
    }
    let probation = Duration::from_secs(trial.probation);
    let elapsed = trial.since.elapsed();
    let watch = probation.saturating_sub(elapsed.unwrap_or_default());
    let rebooted = elapsed.is_none();
    let trial = Trial {
        starts: trial.starts + 1,
        agent: Some(std::process::id()),
        since: if rebooted { Moment::now() } else { trial.since },
        ..trial
    };
    change(store, |state| state.trial = Some(trial.clone()));
    Finding::OnTrial { trial, watch: watch.max(Duration::from_secs(1)), rebooted }
}

/// Puts the previous binary back in the place of the one with `checksum`. The trial, if that was
/// on one; restarting is left to the caller.
///
/// # Errors
/// In words, where it can't be put back.
pub fn roll_back(
    store: &Store,
    checksum: &Checksum,
    reason: &str,
) -> Result<Option<Trial>, String> {
    let on_trial = store.read().trial.filter(|trial| trial.checksum == *checksum);
    let Some(trial) = on_trial else { return Ok(None) };
    let lock = Lock::take(&trial.previous);
    // Another process is at it. A file that is gone can't be locked, and need not be.
    if lock.as_ref().is_err_and(|error| error.code == rpc::BUSY) {
        return Ok(None);
    }
    let decided = store.change(|state| {
        let trial = state.trial.as_mut().filter(|trial| trial.checksum == *checksum)?;
        if trial.stage == Stage::Staged {
            trial.stage = Stage::RollingBack { reason: reason.to_owned() };
        }
        Some(trial.clone())
    });
    let trial = match decided {
        Ok(Some(trial)) => trial,
        Ok(None) => return Ok(None),
        // A disk that is full is no reason to keep what does not work.
        Err(error) => {
            log::error!("{}", super::on("write", store.path(), &error));
            match store.read().trial {
                Some(there) if there.checksum == *checksum => trial,
                // Confirmed while this one waited for its turn.
                _ => return Ok(None),
            }
        }
    };
    // Put back already, by a process that got no further; or replaced by hand since.
    if swap::checksum(&trial.installed).map_or(true, |there| there == *checksum) {
        log::warn!("rolling back version {}: {reason}", trial.version);
        if let Err(error) = swap::put_back(&trial.previous, &trial.installed) {
            change(store, |state| state.trial = None);
            return Err(format!(
                "version {} stays: can't put {} back: {error}",
                trial.version,
                trial.previous.display()
            ));
        }
    }
    let refused = store.change(|state| {
        let ours = state.trial.as_ref().is_some_and(|trial| trial.checksum == *checksum);
        if ours {
            refuse(state, &trial, reason);
        }
        ours
    });
    match refused {
        // Another process was faster, and restarts it.
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(trial)),
        Err(error) => {
            log::error!("{}", super::on("write", store.path(), &error));
            Ok(Some(trial))
        }
    }
}

/// The trial is over, and its binary not wanted again.
fn refuse(state: &mut State, trial: &Trial, reason: &str) {
    log::warn!("version {} was rolled back: {reason}", trial.version);
    state.trial = None;
    state.refused.retain(|refused| refused.checksum != trial.checksum);
    let excess = (state.refused.len() + 1).saturating_sub(REFUSED);
    state.refused.drain(..excess);
    state.refused.push(Refused {
        version: trial.version.clone(),
        checksum: trial.checksum,
        reason: reason.to_owned(),
        at: Timestamp::now().unix(),
        reported: false,
    });
}

/// Removes what an upgrade to `version` may have left; the previous binary stays.
pub(super) fn clean(installed: &Path, version: &Version) {
    let paths: [PathBuf; 3] =
        [download_path(version), staged(installed), beside(installed, ".prev.new")];
    for path in paths {
        if let Err(error) = swap::remove(&path) {
            log::warn!("{}", super::on("remove", &path, &error));
        }
    }
}

/// A change that is wanted, but that nothing depends on.
fn change(store: &Store, change: impl FnOnce(&mut State)) {
    if let Err(error) = store.change(change) {
        log::error!("{}", super::on("write", store.path(), &error));
    }
}

impl Probation {
    /// The gateway has acknowledged a `register`. What to log and to run, if that ended a trial.
    pub fn confirm(&mut self) -> Option<Confirmed> {
        let trial = self.trial.as_ref()?;
        let confirmed = self.store.change(|state| {
            let ours = state.trial.as_ref().is_some_and(|there| {
                there.checksum == trial.checksum && there.stage == Stage::Staged
            });
            if ours {
                state.trial = None;
                state.refused.clear();
            }
            ours
        });
        match confirmed {
            Ok(true) => {
                self.refused.clear();
                let version = self.trial.take()?.version;
                Some(Confirmed { version, call_off: guard::call_off() })
            }
            // The guard was faster; it restarts the service.
            Ok(false) => {
                log::warn!("acknowledged too late: version {} is given up", trial.version);
                self.trial = None;
                None
            }
            // The next register tries again.
            Err(error) => {
                log::error!("can't confirm version {}: {error}", trial.version);
                None
            }
        }
    }

    /// The roll-backs that the gateway does not know of.
    pub fn unreported(&self) -> impl Iterator<Item = &Refused> {
        self.refused.iter().filter(|refused| !refused.reported)
    }

    /// The gateway has been told.
    pub fn mark_reported(&mut self) {
        let mark = |all: &mut Vec<Refused>| all.iter_mut().for_each(|one| one.reported = true);
        mark(&mut self.refused);
        change(&self.store, |state| mark(&mut state.refused));
    }
}

#[cfg(test)]
mod tests;
