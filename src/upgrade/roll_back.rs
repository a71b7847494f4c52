//! The roll-back: the previous binary is put back in the place of the one on trial. The guard does
//! it, and a binary that has failed too often does it at its start. A lock lets in only one of both.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::binary;
use super::state::{Cause, Stage, State, Trial};
use super::store::{Store, Unreadable};
use crate::host::files;
use crate::host::lock::Lock;

/// How often a process that waits for another's roll-back looks whether it is done.
const LOOK: Duration = Duration::from_secs(1);

/// How long the note of a roll-back is tried again while another process changes the state.
const BUSY: Duration = Duration::from_secs(30);

/// Why the previous binary is not back.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    /// There is no previous binary, so another try can't help.
    pub is_final: bool,
}

/// A binary whose previous version is back. While this value lives, no other process rolls back.
pub struct Done {
    /// The trial as it was on disk.
    pub trial: Trial,
    /// Nothing in the state tells that this trial is over, because it can't be read.
    is_unwritten: bool,
    _lock: Option<Lock>,
}

/// Puts the previous binary back in the place of the one on `trial`. The restart is left to the
/// caller, and after it [`Done::write_down`]: a process that is killed in between leaves a trial that
/// the next one goes on with. While another process rolls back, this one waits for `patience`, or
/// without it until the other is done.
///
/// None where there is nothing to roll back: the trial is over, or another binary is installed by
/// now.
///
/// # Errors
/// Why the previous binary can't be put back.
pub fn roll_back(
    store: &Store,
    trial: &Trial,
    cause: Cause,
    reason: &str,
    patience: Option<Duration>,
) -> Result<Option<Done>, Failure> {
    let mut waited = Duration::ZERO;
    let lock = loop {
        match store.lock_roll_back(LOOK) {
            Ok(None) if is_over(store, trial) => return Ok(None),
            Ok(None) if patience.is_some_and(|patience| waited >= patience) => return Ok(None),
            Ok(None) => waited += LOOK,
            Ok(lock) => break lock,
            // A full disk must not keep a bad binary in place.
            Err(error) => {
                log::error!("{}", files::on("lock", store.path(), &error));
                break None;
            }
        }
    };
    let is_unwritten = matches!(store.load(), Err(Unreadable::Damaged(_)));
    let is_installed = binary::checksum(&trial.installed).map_or(true, |sum| sum == trial.checksum);
    if !is_installed && trial.stage == Stage::Staged {
        log::info!("version {} is not installed (any more); its trial is over", trial.version);
        store.change_or_log(|state| state.end_trial(&trial.checksum));
        return Ok(None);
    }
    let Some(trial) = decide(store, trial, cause, reason) else { return Ok(None) };
    // Not where a process was killed after it had put the previous binary back.
    if is_installed {
        log::warn!("rolling back version {}: {reason}", trial.version);
        put_back(store, &trial)?;
    }
    Ok(Some(Done { trial, is_unwritten, _lock: lock }))
}

impl Done {
    /// Writes down that the trial is over, unless the previous binary has done so at its start.
    /// Another process that changes the state takes milliseconds; the limit is there so that the
    /// caller goes on in any case.
    pub fn write_down(&self, store: &Store, cause: Cause, reason: &str) {
        let Done { trial, is_unwritten, .. } = self;
        let give_up = Instant::now() + BUSY;
        loop {
            let give_up_trial = |state: &mut State| match &state.trial {
                Some(there) if there.checksum == trial.checksum => {
                    state.give_up(trial, cause, reason);
                }
                None if *is_unwritten => state.give_up(trial, cause, reason),
                _ => {}
            };
            let written = match is_unwritten {
                true => store.replace(give_up_trial),
                false => store.change(give_up_trial),
            };
            match written {
                Ok(()) => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < give_up => {
                }
                Err(error) => return log::error!("{}", files::on("write", store.path(), &error)),
            }
        }
    }
}

/// Whether the state can be read and has another trial, or none.
fn is_over(store: &Store, trial: &Trial) -> bool {
    let state = store.load();
    state.is_ok_and(|state| state.trial.is_none_or(|there| there.checksum != trial.checksum))
}

/// Writes down that `trial` is being rolled back. The trial as it is on disk; none where it is over.
/// A state file that can't be read or written does not keep a bad binary in place.
fn decide(store: &Store, trial: &Trial, cause: Cause, reason: &str) -> Option<Trial> {
    if let Err(error @ Unreadable::Damaged(_)) = store.load() {
        let path = store.path().display();
        log::error!("{path}: {error}; rolling back by the guard's own arguments");
        return Some(trial.clone());
    }
    let decided = store.change(|state| {
        let there = state.trial.as_mut().filter(|there| there.checksum == trial.checksum)?;
        if there.stage == Stage::Staged {
            there.stage = Stage::RollingBack { reason: reason.to_owned(), cause };
        }
        Some(there.clone())
    });
    decided.unwrap_or_else(|error| {
        log::error!("{}", files::on("write", store.path(), &error));
        (!is_over(store, trial)).then(|| trial.clone())
    })
}

fn put_back(store: &Store, trial: &Trial) -> Result<(), Failure> {
    let previous = trial.previous();
    let Err(error) = binary::put_back(&previous, &trial.installed) else { return Ok(()) };
    let is_final = error.kind() == ErrorKind::NotFound;
    if is_final {
        // While there is a trial, every upgrade is refused.
        let _ = store.change(|state| state.trial = None);
    }
    let message = format!(
        "can't roll back version {}, which stays installed: can't put {} back: {error}",
        trial.version,
        previous.display()
    );
    Err(Failure { message, is_final })
}
