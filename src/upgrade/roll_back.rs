//! The roll-back itself: the previous binary is put back in the place of one that was given up.
//! Both the guard and a binary that has failed too often come here; a lock lets one of them in.

use crate::host::files;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::state::{Cause, Stage, Trial};
use super::store::{Store, Unreadable};
use super::upgrader::swap;

/// How often a process that waits for another's roll-back looks whether that is done.
const STEP: Duration = Duration::from_secs(1);

/// How long a process may take to change the state.
const BUSY: Duration = Duration::from_secs(30);

/// Why the previous binary is not back.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    /// There is no previous binary, so trying again can't help.
    pub is_final: bool,
}

/// Puts the previous binary back in the place of the one on `trial`. The trial as it stands on
/// disk, if it was rolled back here and now; restarting is left to the caller. A process that
/// finds another at it waits for `patience`, or for as long as it takes.
///
/// # Errors
/// Why the previous binary can't be put back.
pub fn roll_back(
    store: &Store,
    trial: &Trial,
    cause: Cause,
    reason: &str,
    patience: Option<Duration>,
) -> Result<Option<Trial>, Failure> {
    let mut waited = Duration::ZERO;
    let _lock = loop {
        match store.lock_roll_back(STEP) {
            Ok(None) if is_over(store, trial) => return Ok(None),
            Ok(None) if patience.is_some_and(|patience| waited >= patience) => return Ok(None),
            Ok(None) => waited += STEP,
            Ok(lock) => break lock,
            // A disk that is full is no reason to keep what does not work.
            Err(error) => {
                log::error!("{}", files::on("lock", store.path(), &error));
                break None;
            }
        }
    };
    let Some(trial) = decide(store, trial, cause, reason) else { return Ok(None) };
    // Put back already, by a process that got no further; or replaced by hand since.
    if swap::checksum(&trial.installed).map_or(true, |there| there == trial.checksum) {
        log::warn!("rolling back version {}: {reason}", trial.version);
        put_back(store, &trial)?;
    }
    write_down(store, &trial, cause, reason);
    Ok(Some(trial))
}

/// Writes down that the trial is over. Waits while another process changes the state, which takes
/// milliseconds; but the restart of the service does not wait for ever.
fn write_down(store: &Store, trial: &Trial, cause: Cause, reason: &str) {
    let give_up = Instant::now() + BUSY;
    loop {
        let written = store.change(|state| {
            if state.trial.as_ref().is_none_or(|there| there.checksum == trial.checksum) {
                state.give_up(trial, cause, reason);
            }
        });
        match written {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < give_up => {}
            Err(error) => return log::error!("{}", files::on("write", store.path(), &error)),
        }
    }
}

/// Whether the trial has ended, as far as that is known.
fn is_over(store: &Store, trial: &Trial) -> bool {
    let state = store.load();
    state.is_ok_and(|state| state.trial.is_none_or(|there| there.checksum != trial.checksum))
}

/// Writes down that `trial` is rolled back. The trial as it stands on disk; none where it is over.
/// What can't be read or written does not keep a bad binary in place.
fn decide(store: &Store, trial: &Trial, cause: Cause, reason: &str) -> Option<Trial> {
    if let Err(error @ Unreadable::Damaged(_)) = store.load() {
        let path = store.path().display();
        log::error!("{path}: {error}; rolling back by what the guard was started with");
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
    let Err(error) = swap::put_back(&previous, &trial.installed) else { return Ok(()) };
    let is_final = error.kind() == ErrorKind::NotFound;
    if is_final {
        // A trial that can't end would refuse every upgrade.
        let _ = store.change(|state| state.trial = None);
    }
    let message =
        format!("version {} stays: can't put {} back: {error}", trial.version, previous.display());
    Err(Failure { message, is_final })
}
