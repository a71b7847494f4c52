//! Where the state of upgrades is kept: one small file and the lock files beside it. They are in a
//! folder that only root can open, or beside the binary with mode 0600.
//!
//! The file is replaced as a whole, because a process that writes it may be killed at any instant.
//! It is removed while there is nothing to remember.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::error::Error;
use super::state::State;
use crate::host::files::{self, beside};
use crate::host::lock::Lock;
use crate::host::paths;

/// The variable that names the folder in which systemd keeps a service's state.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
const FILE: &str = "upgrade.json";
/// How long a change waits while another process makes one, which takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a killed process may take to end, for example while it writes to a slow disk.
const DYING: Duration = Duration::from_secs(2);
const UPGRADE_LOCK: &str = ".lock";
const ROLL_BACK_LOCK: &str = ".rollback.lock";
const WATCH_LOCK: &str = ".watch.lock";
const CHANGE_LOCK: &str = ".json.lock";
/// More than any state needs, in bytes.
const RESERVE: usize = 8192;
const BUSY: &str = "busy: another upgrade is under way; ask again when it is over";

/// The place of the state file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    path: PathBuf,
}

/// Why the state can't be read.
#[derive(Debug)]
pub enum Unreadable {
    Io(io::Error),
    Damaged(serde_json::Error),
}

impl Store {
    /// The store of the agent at `installed`: where a state file exists, otherwise where one can be
    /// written. The folder becomes private to this user.
    pub fn open(installed: &Path) -> Store {
        let folder = std::env::var_os(STATE_DIRECTORY).filter(|folders| !folders.is_empty());
        // Systemd lists all folders of the unit; the first is ours.
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

    /// The store with the state file at `path`.
    pub fn at(path: PathBuf) -> Store {
        Store { path }
    }

    /// The path of the state file of the agent at `installed`, and the state; none where there is no
    /// such file. Changes nothing.
    pub fn look(installed: &Path) -> Option<(PathBuf, Result<State, Unreadable>)> {
        let places = [Path::new(paths::STATE).join(FILE), beside(installed, ".upgrade.json")];
        let path = places.into_iter().find(|path| path.exists())?;
        let state = Store::at(path.clone()).load();
        Some((path, state))
    }

    /// The paths of all lock files of the agent at `installed`, wherever its state is.
    pub fn locks(installed: &Path) -> Vec<PathBuf> {
        let stores = [Path::new(paths::STATE).join(FILE), beside(installed, ".upgrade.json")];
        let locks = stores.map(Store::at).map(|store| {
            [UPGRADE_LOCK, ROLL_BACK_LOCK, WATCH_LOCK, CHANGE_LOCK]
                .map(|suffix| store.lock_path(suffix))
        });
        locks.concat()
    }

    /// The path of the state file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the state file.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The state; empty where there is no file.
    ///
    /// # Errors
    /// That the file can't be read or understood.
    pub fn load(&self) -> Result<State, Unreadable> {
        match files::read_own(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map_err(Unreadable::Damaged),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(Unreadable::Io(error)),
        }
    }

    /// The state; empty, with a line in the log, where it can't be read.
    pub fn read(&self) -> State {
        self.load().unwrap_or_else(|error| {
            log::error!("{}: {error}", self.path.display());
            State::default()
        })
    }

    /// Reads, changes and writes the state, under a lock. On return the state is on disk. A damaged
    /// file is renamed and counts as empty.
    ///
    /// # Errors
    /// The operating system's own; the file is unchanged then.
    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        // With a new file, its guard would take a trial for over.
        self.change_unless(self.is_watched(), change)
    }

    /// As [`Store::change`], for the guard that rolls back a trial whose state is damaged.
    ///
    /// # Errors
    /// The operating system's own; the file is unchanged then.
    pub fn replace<R>(&self, change: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        self.change_unless(false, change)
    }

    fn change_unless<R>(
        &self,
        keeps_damaged: bool,
        change: impl FnOnce(&mut State) -> R,
    ) -> io::Result<R> {
        let _lock = self.lock()?;
        let before = match self.load() {
            Ok(before) => before,
            Err(Unreadable::Io(error)) => return Err(error),
            Err(error) if keeps_damaged => return Err(io::Error::other(error.to_string())),
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

    /// As [`Store::change`], for a change that an upgrade depends on.
    ///
    /// # Errors
    /// [`super::error::Kind::NotReplaced`].
    pub fn change_or_fail(&self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let failed = |error| Error::not_replaced(files::on("write", &self.path, &error));
        self.change(change).map_err(failed)
    }

    /// As [`Store::change`], for a change that nothing depends on: an error is only logged.
    pub fn change_or_log(&self, change: impl FnOnce(&mut State)) {
        if let Err(error) = self.change(change) {
            log::error!("{}", files::on("write", &self.path, &error));
        }
    }

    /// Removes the unfinished file of a process that was killed while it wrote.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn clean(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        if self.load().is_ok_and(|state| state.trial.is_none()) {
            files::remove(&self.reserve())?;
        }
        files::remove(&beside(&self.path, ".tmp"))
    }

    /// The lock that every upgrade holds.
    ///
    /// # Errors
    /// [`super::error::Kind::Busy`] while another upgrade holds it.
    pub fn lock_upgrade(&self) -> Result<Lock, Error> {
        self.lock_upgrade_within(Duration::ZERO)
    }

    /// The same lock, after an upgrader that was killed and may not have ended yet.
    ///
    /// # Errors
    /// [`super::error::Kind::Busy`] where another upgrade holds it.
    pub fn inherit_upgrade(&self) -> Result<Lock, Error> {
        self.lock_upgrade_within(DYING)
    }

    fn lock_upgrade_within(&self, patience: Duration) -> Result<Lock, Error> {
        let path = self.lock_path(UPGRADE_LOCK);
        let lock = Lock::take(&path, patience)
            .map_err(|error| Error::not_replaced(files::on("lock", &path, &error)))?;
        lock.ok_or_else(|| Error::busy(BUSY))
    }

    /// Whether a guard watches.
    pub fn is_watched(&self) -> bool {
        self.lock_watch().is_ok_and(|lock| lock.is_none())
    }

    /// The lock that a guard holds while it watches. None where another guard holds it.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn lock_watch(&self) -> io::Result<Option<Lock>> {
        Lock::take(&self.lock_path(WATCH_LOCK), Duration::ZERO)
    }

    /// The lock that every roll-back holds. None where another process holds it after `patience`.
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

    /// While there is a trial, room for one more state is kept on the disk: a disk that is full by
    /// then must not hide a roll-back.
    fn write(&self, state: &State) -> io::Result<()> {
        if *state == State::default() {
            fs::remove_file(&self.path)?;
            return files::remove(&self.reserve());
        }
        let text = serde_json::to_vec(state)?;
        let new = beside(&self.path, ".tmp");
        let written = write_new(&new, &text).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            let _ = files::remove(&new);
            self.write_to_reserve(&text).map_err(|_| error)?;
        }
        match state.trial {
            // Without room for a reserve, the next state may still find some.
            Some(_) => self.reserve_room().or(Ok(())),
            None => files::remove(&self.reserve()),
        }
    }

    fn reserve(&self) -> PathBuf {
        beside(&self.path, ".reserve")
    }

    fn reserve_room(&self) -> io::Result<()> {
        let path = self.reserve();
        let is_whole = |file: fs::Metadata| file.len() == RESERVE as u64;
        match fs::metadata(&path).is_ok_and(is_whole) {
            true => Ok(()),
            false => write_new(&path, &[b' '; RESERVE]).inspect_err(|_| {
                let _ = files::remove(&path);
            }),
        }
    }

    /// The rest of the reserve stays white space, which is nothing to JSON.
    fn write_to_reserve(&self, text: &[u8]) -> io::Result<()> {
        let path = self.reserve();
        let mut file = OpenOptions::new().write(true).open(&path)?;
        if text.len() > RESERVE || file.metadata()?.len() != RESERVE as u64 {
            return Err(ErrorKind::StorageFull.into());
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&path, &self.path)
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    files::write_new(path, text)?.sync_all()
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
    use crate::upgrade::error::Kind;
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
    fn a_damaged_file_is_an_error_and_only_a_change_renames_it() {
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
        assert_eq!(store.lock_upgrade().map(drop).unwrap_err().kind, Kind::Busy);
        drop(lock);
        store.lock_upgrade().unwrap();
        assert!(folder.path().join("agent.upgrade.lock").exists());
    }
}
