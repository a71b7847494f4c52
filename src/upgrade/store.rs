//! Where the state of upgrades is kept: one small file, replaced as a whole and gone while there
//! is nothing to remember, and the locks beside it. All of it lies in a folder that is root's
//! alone, or beside the binary with mode 0600. Whoever writes the file may be killed at any
//! instant.

use crate::host::paths;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::error::Error;
use super::state::State;
use crate::host::files::{self, Lock, beside};

/// The variable that names the folder in which systemd keeps a service's state.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
const FILE: &str = "upgrade.json";
/// Changes take milliseconds; a process that finds another at work waits this long for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a process that was killed may take to end, in the middle of a write to a slow disk.
const DYING: Duration = Duration::from_secs(2);
const UPGRADE_LOCK: &str = ".lock";
const ROLL_BACK_LOCK: &str = ".rollback.lock";
const CHANGE_LOCK: &str = ".json.lock";
const BUSY: &str = "busy: another upgrade is under way; ask again when it is over";

/// Where the state is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    path: PathBuf,
}

/// Why the state is not known.
#[derive(Debug)]
pub enum Unreadable {
    Io(io::Error),
    Damaged(serde_json::Error),
}

impl Store {
    /// The state of the agent at `installed`: where there is one, else where one can be. The folder
    /// becomes this user's alone.
    pub fn open(installed: &Path) -> Store {
        let folder = std::env::var_os(STATE_DIRECTORY).filter(|folders| !folders.is_empty());
        // Systemd lists all folders that a unit asked for; the first is ours.
        let folder = folder.and_then(|folders| {
            folders.to_string_lossy().split(':').next().map(|folder| folder.to_owned())
        });
        let folder = PathBuf::from(folder.unwrap_or_else(|| paths::STATE.to_owned()));
        let private = files::private_folder(&folder).inspect_err(|error| {
            log::warn!("{}", files::on("keep upgrade state in", &folder, error));
        });
        let usual = folder.join(FILE);
        let last_resort = beside(installed, ".upgrade.json");
        let is_usable = private.is_ok() && access(&folder, Access::WRITE_OK).is_ok();
        let path = if usual.exists() || (!last_resort.exists() && is_usable) {
            usual
        } else {
            last_resort
        };
        Store { path }
    }

    pub fn at(path: PathBuf) -> Store {
        Store { path }
    }

    /// The file of the agent at `installed` and what it says, with nothing touched; none where
    /// there is nothing to remember.
    pub fn look(installed: &Path) -> Option<(PathBuf, Result<State, Unreadable>)> {
        let places = [Path::new(paths::STATE).join(FILE), beside(installed, ".upgrade.json")];
        let path = places.into_iter().find(|path| path.exists())?;
        let state = Store::at(path.clone()).load();
        Some((path, state))
    }

    /// The lock files of the binary at `installed`, wherever its state is.
    pub fn locks(installed: &Path) -> Vec<PathBuf> {
        let stores = [Path::new(paths::STATE).join(FILE), beside(installed, ".upgrade.json")];
        let locks = stores.map(Store::at).map(|store| {
            [UPGRADE_LOCK, ROLL_BACK_LOCK, CHANGE_LOCK].map(|suffix| store.lock_path(suffix))
        });
        locks.concat()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the state file.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// # Errors
    /// That there is something, and it can't be read or understood.
    pub fn load(&self) -> Result<State, Unreadable> {
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map_err(Unreadable::Damaged),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(Unreadable::Io(error)),
        }
    }

    /// The state; empty, with a line in the log, where it is not known.
    pub fn read(&self) -> State {
        self.load().unwrap_or_else(|error| {
            log::error!("{}: {error}", self.path.display());
            State::default()
        })
    }

    /// Reads, changes and writes the state, with nobody else doing so in between. On return it is
    /// on disk. A damaged file is set aside for it.
    ///
    /// # Errors
    /// The operating system's own; the file is then as it was.
    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        let _lock = self.lock()?;
        let before = match self.load() {
            Ok(before) => before,
            Err(Unreadable::Io(error)) => return Err(error),
            Err(error @ Unreadable::Damaged(_)) => {
                let bad = beside(&self.path, ".bad");
                fs::rename(&self.path, &bad)?;
                log::error!("{}: {error}; kept as {}", self.path.display(), bad.display());
                State::default()
            }
        };
        let mut state = before.clone();
        let result = change(&mut state);
        if state != before {
            self.write(&state)?;
            files::sync_folder(&self.path)?;
        }
        Ok(result)
    }

    /// Removes what a process has left that was killed while it wrote.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn clean(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        files::remove(&beside(&self.path, ".tmp"))
    }

    /// The right to upgrade, of which there is one.
    ///
    /// # Errors
    /// [`crate::wire::rpc::BUSY`] while another upgrade runs.
    pub fn lock_upgrade(&self) -> Result<Lock, Error> {
        self.lock_upgrade_within(Duration::ZERO)
    }

    /// The right of an upgrader that was killed, and may still be dying.
    ///
    /// # Errors
    /// [`crate::wire::rpc::BUSY`] where another upgrader is at work for good.
    pub fn inherit_upgrade(&self) -> Result<Lock, Error> {
        self.lock_upgrade_within(DYING)
    }

    fn lock_upgrade_within(&self, patience: Duration) -> Result<Lock, Error> {
        let path = self.lock_path(UPGRADE_LOCK);
        let lock = Lock::take(&path, patience)
            .map_err(|error| Error::not_replaced(files::on("lock", &path, &error)))?;
        lock.ok_or_else(|| Error::busy(BUSY))
    }

    /// The right to roll back, of which there is one. None where another process still has it.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn lock_roll_back(&self, patience: Duration) -> io::Result<Option<Lock>> {
        Lock::take(&self.lock_path(ROLL_BACK_LOCK), patience)
    }

    fn lock(&self) -> io::Result<Lock> {
        let busy = || io::Error::new(ErrorKind::WouldBlock, "another process is changing it");
        Lock::take(&self.lock_path(CHANGE_LOCK), PATIENCE)?.ok_or_else(busy)
    }

    fn lock_path(&self, suffix: &str) -> PathBuf {
        beside(&self.path.with_extension(""), suffix)
    }

    fn write(&self, state: &State) -> io::Result<()> {
        if *state == State::default() {
            return fs::remove_file(&self.path);
        }
        let new = beside(&self.path, ".tmp");
        files::remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let text = serde_json::to_vec(state)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        let written = written.and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Unreadable::Io(error) => write!(f, "can't be read: {error}"),
            Unreadable::Damaged(error) => write!(f, "damaged: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::tests::{Folder, trial};

    #[test]
    fn it_comes_back_as_it_was_and_leaves_no_file_when_empty() {
        let folder = Folder::new();
        let store = Store::at(folder.path().join("upgrade.json"));
        assert_eq!(store.load().unwrap(), State::default());
        let trial = trial(&folder.path().join("agent"), b"new");
        store.change(|state| state.trial = Some(trial.clone())).unwrap();
        assert_eq!(store.load().unwrap().trial, Some(trial));
        store.change(|state| state.trial = None).unwrap();
        assert_eq!(folder.names(), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_file_is_told_and_only_set_aside_by_a_change() {
        let folder = Folder::new();
        let path = folder.path().join("upgrade.json");
        let store = Store::at(path.clone());
        for damaged in ["", "{", "7", r#"{"trial":{"version":"../x"}}"#] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(store.load(), Err(Unreadable::Damaged(_))), "{damaged}");
            assert_eq!(store.read(), State::default());
            assert!(path.exists());
            store.change(|_| ()).unwrap();
            assert_eq!(folder.names(), ["upgrade.json.bad"]);
        }
    }

    #[test]
    fn one_upgrade_at_a_time() {
        let folder = Folder::new();
        let store = Store::at(folder.path().join("agent.upgrade.json"));
        let lock = store.lock_upgrade().unwrap();
        assert_eq!(store.lock_upgrade().map(drop).unwrap_err().code, crate::wire::rpc::BUSY);
        drop(lock);
        store.lock_upgrade().unwrap();
        assert!(folder.path().join("agent.upgrade.lock").exists());
    }
}
