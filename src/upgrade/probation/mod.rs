//! From the swap to the verdict: a new binary is confirmed by the first acknowledged `register`,
//! else the previous one is put back. Each step is written down before it is taken, so a process
//! that dies in between leaves something that the next one goes on with.

use crate::host::files;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::guard;
use super::paths::{download_paths, installed, staged};
use super::request::{Checksum, Version};
use super::roll_back::{self, roll_back};
use super::state::{Cause, Moment, RolledBack, Stage, State, Trial};
use super::store::Store;
use super::upgrader::swap;
use crate::host::files::beside;
use crate::host::process::Identity;
use crate::run::job::Children;

/// So many starts may come to nothing.
const STARTS: u32 = 3;
/// A confirmation that could not be written down is tried again this often.
const RETRY: Duration = Duration::from_secs(3);
/// How long a start waits for a guard that is rolling back already, and restarts this process.
const GUARD: Duration = Duration::from_secs(10);

/// What the agent knows of its own upgrades. Read once, at the start: every other process that
/// changes it restarts the agent.
pub struct Probation {
    store: Store,
    /// Of this very binary, until it is confirmed.
    trial: Option<Trial>,
    rolled_back: Vec<RolledBack>,
    confirmation: Confirmation,
}

/// How far the confirmation of this binary is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Confirmation {
    /// The gateway has not accepted this binary.
    Awaited,
    /// The gateway has accepted it, which is to be written down then. Where `failed`, that was
    /// tried before.
    Due { at: Instant, failed: bool },
    /// There is nothing to confirm.
    Done,
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
    GivenUp { trial: Trial, cause: Cause, reason: String },
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
            return Ok(Probation::new(Store::open(&gone), None, Vec::new()));
        }
    };
    let store = Store::open(&installed);
    let own = || swap::checksum(Path::new("/proc/self/exe"));
    let trial = match settle(&store, &installed, own) {
        Finding::Nothing => None,
        Finding::Over => {
            guard::call_off_now(children);
            None
        }
        Finding::OnTrial { trial, watch, rebooted } => {
            tell(&trial, watch);
            // A guard of systemd's is lost with the machine only.
            let is_gone = rebooted || !guard::is_systemds(&trial);
            let armed = if is_gone { guard::arm(&trial, &store, watch, children) } else { Ok(()) };
            if let Err(error) = armed {
                log::error!(
                    "nothing will roll back version {} if it fails: the guard can't be started: \
                     {error}",
                    trial.version
                );
            }
            Some(trial)
        }
        Finding::GivenUp { trial, cause, reason } => {
            match roll_back(&store, &trial, cause, &reason, Some(GUARD)) {
                Ok(Some(trial)) => {
                    guard::call_off_now(children);
                    let mut previous = Command::new(trial.installed);
                    return Err(previous.args(std::env::args_os().skip(1)).exec());
                }
                Ok(None) => {}
                // Better this version than none; the guard tries again.
                Err(roll_back::Failure { message, .. }) => log::error!("{message}"),
            }
            None
        }
    };
    let rolled_back = store.read().rolled_back;
    for untold in rolled_back.iter().filter(|before| trial.is_none() && !before.reported) {
        // The guard has said so in a journal of its own.
        log::warn!("{}", untold.in_words());
    }
    Ok(Probation::new(store, trial, rolled_back))
}

/// Says that this binary is on trial, and whom to ask while it does not work.
fn tell(trial: &Trial, watch: Duration) {
    let Trial { version, starts, .. } = trial;
    log::info!(
        "trial of version {version}, start {starts} of {STARTS}: will be rolled back in {} s unless \
         the gateway accepts it; if it does not work: sudo {} doctor",
        watch.as_secs(),
        trial.previous().display()
    );
}

/// Finds out what the last processes have left, puts it in order, and counts this start.
fn settle(store: &Store, installed: &Path, own: impl FnOnce() -> io::Result<Checksum>) -> Finding {
    // Where the folder is missing there is nothing to clean either.
    let _ = store.clean();
    // One that is still at work, started by hand, cleans up by itself.
    if store.read().unfinished.is_some()
        && let Ok(_lock) = store.inherit_upgrade()
        && let Some(version) = store.read().unfinished
    {
        log::info!("cleaning up after an upgrade to version {version} that was cut short");
        clean(store, installed, &version);
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
        clean(store, installed, &trial.version);
        match &trial.stage {
            Stage::Staged => {
                log::info!("version {} never got into place; it is forgotten", trial.version);
                change(store, |state| state.trial = None);
            }
            Stage::RollingBack { reason, cause } => {
                change(store, |state| state.give_up(&trial, *cause, reason));
            }
        }
        return Finding::Over;
    }
    if let Stage::RollingBack { reason, cause } = &trial.stage {
        let (reason, cause) = (reason.clone(), *cause);
        return Finding::GivenUp { trial, cause, reason };
    }
    if trial.starts >= STARTS {
        let reason = format!("it started and ended {STARTS} times");
        return Finding::GivenUp { trial, cause: Cause::Crashed, reason };
    }
    let left = trial.left();
    let rebooted = left.is_none();
    let watch = left.unwrap_or(Duration::from_secs(trial.probation));
    let mut trial = trial.run_by(Identity::of(std::process::id()));
    trial.starts += 1;
    if rebooted {
        trial.since = Moment::now();
    }
    change(store, |state| state.trial = Some(trial.clone()));
    Finding::OnTrial { trial, watch: watch.max(Duration::from_secs(1)), rebooted }
}

/// Removes what an upgrade to `version` may have left; the previous binary stays.
pub(super) fn clean(store: &Store, installed: &Path, version: &Version) {
    let beside: [PathBuf; 2] = [staged(installed), beside(installed, ".prev.new")];
    let [first, second] = download_paths(store.folder(), version);
    // Another user may have put something at the first place, which then stays.
    if let Err(error) = files::remove(&first) {
        log::debug!("{}", files::on("remove", &first, &error));
    }
    for path in beside.into_iter().chain([second]) {
        if let Err(error) = files::remove(&path) {
            log::warn!("{}", files::on("remove", &path, &error));
        }
    }
}

/// A change that is wanted, but that nothing depends on.
fn change(store: &Store, change: impl FnOnce(&mut State)) {
    if let Err(error) = store.change(change) {
        log::error!("{}", files::on("write", store.path(), &error));
    }
}

impl Probation {
    fn new(store: Store, trial: Option<Trial>, rolled_back: Vec<RolledBack>) -> Probation {
        let confirmation = if trial.is_some() { Confirmation::Awaited } else { Confirmation::Done };
        Probation { store, trial, rolled_back, confirmation }
    }

    /// The trial of this binary, until it is confirmed.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// The gateway has accepted this binary. [`Probation::turn`] writes that down.
    pub fn accepted(&mut self, now: Instant) {
        if self.confirmation == Confirmation::Awaited {
            self.confirmation = Confirmation::Due { at: now, failed: false };
        }
    }

    /// The gateway has answered the `register` of this binary, and did not accept it.
    pub fn refused(&mut self) {
        let Some(trial) = self.trial.as_mut().filter(|trial| !trial.refused) else { return };
        trial.refused = true;
        let checksum = trial.checksum;
        change(&self.store, |state| {
            let ours = state.trial.as_mut().filter(|there| there.checksum == checksum);
            ours.into_iter().for_each(|there| there.refused = true);
        });
    }

    /// When the next turn is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.confirmation {
            Confirmation::Due { at, .. } => Some(at),
            Confirmation::Awaited | Confirmation::Done => None,
        }
    }

    /// Writes down that this binary is confirmed, where that is due. What to run then.
    pub fn turn(&mut self, now: Instant) -> Option<Confirmed> {
        let is_due = self.deadline().is_some_and(|due| now >= due);
        let trial = self.trial.as_ref().filter(|_| is_due)?;
        let confirmed = self.store.change(|state| {
            let ours = state.trial.as_ref().is_some_and(|there| {
                there.checksum == trial.checksum && there.stage == Stage::Staged
            });
            if ours {
                state.trial = None;
                state.rolled_back.clear();
            }
            ours
        });
        let version = trial.version.clone();
        match confirmed {
            Ok(true) => {
                self.trial = None;
                self.rolled_back.clear();
                self.confirmation = Confirmation::Done;
                Some(Confirmed { version, call_off: guard::call_off() })
            }
            // The guard was faster; it restarts the service.
            Ok(false) => {
                log::warn!("version {version} was accepted after its deadline; it is rolled back");
                self.trial = None;
                self.confirmation = Confirmation::Done;
                None
            }
            Err(error) => {
                if !matches!(self.confirmation, Confirmation::Due { failed: true, .. }) {
                    let path = self.store.path().display();
                    log::error!(
                        "version {version} is accepted, but that can't be written to {path}: \
                         {error}; it is tried again until version {version} is rolled back"
                    );
                }
                self.confirmation = Confirmation::Due { at: now + RETRY, failed: true };
                None
            }
        }
    }

    /// The roll-backs that the gateway does not know of.
    pub fn unreported(&self) -> impl Iterator<Item = &RolledBack> {
        self.rolled_back.iter().filter(|rolled_back| !rolled_back.reported)
    }

    /// The gateway has been told.
    pub fn mark_reported(&mut self) {
        let mark = |all: &mut Vec<RolledBack>| all.iter_mut().for_each(|one| one.reported = true);
        mark(&mut self.rolled_back);
        change(&self.store, |state| mark(&mut state.rolled_back));
    }
}

#[cfg(test)]
mod tests;
