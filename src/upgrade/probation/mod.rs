//! The agent's part of a trial, from the swap to its end: the new binary is confirmed by the first
//! acknowledged `register`, or rolled back. Each step is written down before it is taken, so that
//! the next process can go on where a process died.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::binary;
use super::guard;
use super::leftovers;
use super::paths;
use super::request::{Checksum, Version};
use super::roll_back::{Failure, roll_back};
use super::state::{Cause, Moment, RolledBack, Stage, Trial};
use super::store::Store;
use super::told::Told;
use crate::host::process::Identity;
use crate::run::job::Children;

/// A binary that has started so often without being accepted is rolled back at its next start.
const STARTS: u32 = 3;
/// How long until a confirmation that could not be written down is tried again.
const RETRY: Duration = Duration::from_secs(3);
/// How long a start waits for a guard that is rolling back and will restart this process.
const GUARD: Duration = Duration::from_secs(10);

/// The upgrades that concern this agent. Read once, at the start: every other process that changes
/// their state restarts the agent.
pub struct Probation {
    store: Store,
    /// The trial of this binary, until it is confirmed.
    trial: Option<Trial>,
    rolled_back: Vec<RolledBack>,
    confirmation: Confirmation,
}

/// How far the confirmation of this binary is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Confirmation {
    /// The gateway has not accepted this binary yet.
    Awaited,
    /// The gateway has accepted this binary. The confirmation is written down at this time; `failed`
    /// if it could not be written before.
    Due { at: Instant, failed: bool },
    /// This binary is not on trial, or not any more.
    Done,
}

/// A trial whose binary was confirmed.
pub struct Confirmed {
    pub version: Version,
    /// The command that stops the guard, to be run without waiting for it.
    pub call_off: Option<Vec<OsString>>,
}

/// What a start finds in the state.
#[derive(PartialEq, Eq, Debug)]
enum Finding {
    /// No trial.
    Nothing,
    /// A trial that is over. Its guard may not know.
    Over,
    /// This binary is on trial, for `left` from now on. `rebooted`: this is the first start of a boot.
    OnTrial { trial: Trial, left: Duration, rebooted: bool },
    /// This binary is to be rolled back.
    GivenUp { trial: Trial, cause: Cause, reason: String },
}

/// To be called at every start, before the first session. Counts the start, cleans up after
/// interrupted upgrades, and sees that there is a guard. A binary that has failed too often is
/// replaced by the previous one in this process.
///
/// # Errors
/// That the previous binary is back but can't be executed.
pub fn on_start(children: &Rc<Children>) -> io::Result<Probation> {
    let installed = match paths::installed() {
        Ok(installed) => installed,
        Err(error) => {
            log::warn!("{error}");
            let gone = paths::started_from().unwrap_or_default();
            return Ok(Probation::new(Store::open(&gone), None, Vec::new()));
        }
    };
    let store = Store::open(&installed);
    let own = || binary::checksum(Path::new("/proc/self/exe"));
    let trial = match settle(&store, &installed, own) {
        Finding::Nothing => None,
        Finding::Over => {
            guard::call_off_now(children);
            None
        }
        Finding::OnTrial { trial, left, rebooted } => {
            tell(&trial, left);
            // A unit of systemd's outlives the agent, but not a reboot.
            if rebooted || !guard::is_systemds(&trial) {
                arm(&trial, &store, left, children);
            }
            Some(trial)
        }
        Finding::GivenUp { trial, cause, reason } => {
            go_back(&store, &trial, cause, &reason, children)?;
            None
        }
    };
    let rolled_back = store.read().rolled_back;
    if trial.is_none() {
        // The guard has its own journal. The agent's has the line too.
        let unreported = rolled_back.iter().filter(|before| !before.reported);
        unreported.for_each(|before| log::warn!("{}", before.in_words()));
    }
    Ok(Probation::new(store, trial, rolled_back))
}

/// Starts the guard again.
fn arm(trial: &Trial, store: &Store, left: Duration, children: &Rc<Children>) {
    if let Err(error) = guard::arm(trial, store, left, children) {
        log::error!(
            "the guard can't be started: {error}; if version {} fails, it will not be rolled back \
             automatically",
            trial.version
        );
    }
}

/// Rolls back this binary and executes the previous one. Returns where this binary stays.
///
/// # Errors
/// That the previous binary is back but can't be executed.
fn go_back(
    store: &Store,
    trial: &Trial,
    cause: Cause,
    reason: &str,
    children: &Rc<Children>,
) -> io::Result<()> {
    match roll_back(store, trial, cause, reason, Some(GUARD)) {
        Ok(Some(done)) => {
            done.write_down(store, cause, reason);
            guard::call_off_now(children);
            let mut previous = Command::new(&done.trial.installed);
            Err(previous.args(std::env::args_os().skip(1)).exec())
        }
        Ok(None) => Ok(()),
        // A bad version is better than no agent. The guard tries again.
        Err(Failure { message, .. }) => {
            log::error!("{message}");
            Ok(())
        }
    }
}

/// Logs that this binary is on trial, and the command that finds out why it fails.
fn tell(trial: &Trial, left: Duration) {
    let Trial { version, starts, .. } = trial;
    log::info!(
        "trial of version {version}, start {starts} of {STARTS}: will be rolled back in {} s unless \
         the gateway accepts it; if it does not work: sudo {} doctor",
        left.as_secs(),
        trial.previous().display()
    );
}

/// Reads what the last processes have left, cleans up after them, and counts this start. `own` is
/// this binary's checksum.
fn settle(store: &Store, installed: &Path, own: impl FnOnce() -> io::Result<Checksum>) -> Finding {
    // An error means that there is no folder, so there is nothing to clean.
    let _ = store.clean();
    // An upgrade by hand that is still at work holds the lock, and cleans up itself.
    if store.read().unfinished.is_some()
        && let Ok(_lock) = store.inherit_upgrade()
        && let Some(version) = store.read().unfinished
    {
        log::info!("cleaning up after an interrupted upgrade to version {version}");
        leftovers::clean(store, installed, &version);
        store.change_or_log(|state| state.unfinished = None);
    }
    let state = store.read();
    // The trial of another agent, which shares the folder, is left alone.
    let Some(trial) = state.trial.filter(|trial| trial.installed == installed) else {
        return Finding::Nothing;
    };
    let own = match own() {
        Ok(own) => own,
        Err(error) => {
            log::error!("can't read this binary to find out whether it is on trial: {error}");
            return Finding::Nothing;
        }
    };
    if own != trial.checksum {
        leftovers::clean(store, installed, &trial.version);
        match &trial.stage {
            Stage::Staged => {
                log::info!(
                    "the upgrade to version {} ended before the swap; the installed version stays",
                    trial.version
                );
                store.change_or_log(|state| state.trial = None);
            }
            Stage::RollingBack { reason, cause } => {
                store.change_or_log(|state| state.give_up(&trial, *cause, reason));
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
    let (rebooted, whole) = (trial.left().is_none(), Duration::from_secs(trial.probation));
    let left = trial.left().unwrap_or(whole).max(Duration::from_secs(1));
    let mut trial = trial.run_by(Identity::of(std::process::id()));
    trial.starts += 1;
    if rebooted {
        trial.since = Moment::now();
    }
    store.change_or_log(|state| state.trial = Some(trial.clone()));
    Finding::OnTrial { trial, left, rebooted }
}

impl Probation {
    fn new(store: Store, trial: Option<Trial>, rolled_back: Vec<RolledBack>) -> Probation {
        let confirmation = if trial.is_some() { Confirmation::Awaited } else { Confirmation::Done };
        Probation { store, trial, rolled_back, confirmation }
    }

    /// What `register` tells of trials and roll-backs.
    pub fn told(&self) -> Told<'_> {
        Told::new(self.trial.as_ref(), &self.rolled_back)
    }

    /// The trial of this binary, until it is confirmed.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Notes that the gateway has accepted this binary. [`Probation::turn`] writes it to the disk.
    pub fn accepted(&mut self, now: Instant) {
        if self.confirmation == Confirmation::Awaited {
            self.confirmation = Confirmation::Due { at: now, failed: false };
        }
    }

    /// Writes down that the gateway has refused the `register` of this binary.
    pub fn refused(&mut self) {
        let Some(trial) = self.trial.as_mut().filter(|trial| !trial.refused) else { return };
        trial.refused = true;
        let checksum = trial.checksum;
        self.store.change_or_log(|state| {
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

    /// Writes down that this binary is confirmed, where that is due.
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
            // The guard is rolling back already. It restarts the service.
            Ok(false) => {
                log::warn!(
                    "version {version} was accepted by the gateway after its deadline; rolling back"
                );
                self.trial = None;
                self.confirmation = Confirmation::Done;
                None
            }
            Err(error) => {
                if !matches!(self.confirmation, Confirmation::Due { failed: true, .. }) {
                    let path = self.store.path().display();
                    log::error!(
                        "version {version} was accepted, but this can't be written to {path}: \
                         {error}; without that, version {version} will be rolled back; trying \
                         again every {} s",
                        RETRY.as_secs()
                    );
                }
                self.confirmation = Confirmation::Due { at: now + RETRY, failed: true };
                None
            }
        }
    }

    /// The roll-backs that the gateway has not heard of.
    pub fn unreported(&self) -> impl Iterator<Item = &RolledBack> {
        self.rolled_back.iter().filter(|rolled_back| !rolled_back.reported)
    }

    /// Writes down that the gateway has heard of all roll-backs.
    pub fn mark_reported(&mut self) {
        let mark = |all: &mut Vec<RolledBack>| all.iter_mut().for_each(|one| one.reported = true);
        mark(&mut self.rolled_back);
        self.store.change_or_log(|state| mark(&mut state.rolled_back));
    }
}

#[cfg(test)]
mod tests;
