//! What of an upgrade outlives its processes: one small file, replaced as a whole, gone while
//! there is nothing to remember. Whoever writes it may be killed at any instant, and whoever reads
//! it may be an older or a newer version of this program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, access, flock};
use serde::{Deserialize, Serialize};

use super::{Checksum, Error, STATE_DIRECTORY, Version, beside, on, revive, swap};
use crate::host::timestamp::Timestamp;
use crate::run::wait;

/// Where the state is kept unless systemd says otherwise.
pub const FOLDER: &str = "/var/lib/vmkit-agent";
const FILE: &str = "upgrade.json";
/// Changes take milliseconds; one that finds another at work waits this long for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a process that was killed may take to end, in the middle of a write to a slow disk.
const DYING: Duration = Duration::from_secs(2);

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct State {
    /// The version that an upgrader is bringing in: what it leaves behind if it is killed is
    /// named after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What was rolled back since the last upgrade that was confirmed, the newest last.
    #[serde(rename = "rolled_back", skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// A binary that has yet to prove itself. Written before it is installed, so the file that is
/// installed may still be the one before.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Trial {
    pub version: Version,
    pub checksum: Checksum,
    pub installed: PathBuf,
    pub previous: PathBuf,
    /// When probation began, or began anew after a reboot.
    pub since: Moment,
    /// How many seconds it may take.
    pub probation: u64,
    /// How often the new binary has been started.
    pub starts: u32,
    pub stage: Stage,
    /// What restarts the service; none where the agent executes the new binary in its own place.
    /// Kept here, because a roll-back can't rely on a configuration.
    pub restart: Option<Vec<String>>,
    /// The process that is to become, or has become, the new binary.
    pub agent: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Installed, or about to be.
    Staged,
    /// The previous binary is being put back, or has been.
    RollingBack { reason: String },
}

/// A binary that was rolled back, and is not taken again until another one has been confirmed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Refused {
    pub version: Version,
    pub checksum: Checksum,
    pub reason: String,
    /// Seconds since 1970.
    pub at: i64,
    /// Whether the gateway has been told.
    pub reported: bool,
}

/// A point in the time of one boot, which no clock's correction moves.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Moment {
    boot: String,
    seconds: u64,
}

/// Where the state is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    path: PathBuf,
}

/// Held by the one upgrade that may run; given back with the process at the latest.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Refused {
    pub fn report(&self) -> Report<'_> {
        let Refused { version, checksum, reason, .. } = self;
        Report { version, checksum_sha256: checksum, reason }
    }

    /// What an upgrade to the same file is answered with.
    pub fn error(&self) -> Error {
        let Refused { version, checksum, reason, at, .. } = self;
        let at = Timestamp::from_unix(*at);
        Error::unfit(format!(
            "version {version} ({checksum}) was rolled back at {at}, reason: {reason}; it is not \
             taken again until another upgrade has been confirmed"
        ))
    }
}

/// The parameters of `upgrade_rolled_back`.
#[derive(Serialize)]
pub struct Report<'a> {
    version: &'a Version,
    checksum_sha256: &'a Checksum,
    reason: &'a str,
}

impl Moment {
    pub fn now() -> Moment {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        // The kernel's boot and process 1's: a container's is another one after its restart.
        let kernel = read("/proc/sys/kernel/random/boot_id");
        let boot = format!("{} {}", kernel.trim(), revive::start_time(1).unwrap_or_default());
        let seconds = read("/proc/uptime").split('.').next().and_then(|text| text.parse().ok());
        Moment { boot, seconds: seconds.unwrap_or_default() }
    }

    /// How long ago that was; none if it was in another boot.
    pub fn elapsed(&self) -> Option<Duration> {
        let now = Moment::now();
        let same = now.boot == self.boot;
        same.then(|| Duration::from_secs(now.seconds.saturating_sub(self.seconds)))
    }
}

impl Store {
    /// The state of the agent at `installed`: where there is one, else where one can be.
    pub fn find(installed: &Path) -> Store {
        let folder = std::env::var_os(STATE_DIRECTORY).filter(|folders| !folders.is_empty());
        // Systemd lists all folders that a unit asked for; the first is ours.
        let folder = folder.and_then(|folders| {
            folders.to_string_lossy().split(':').next().map(|folder| folder.to_owned())
        });
        let folder = PathBuf::from(folder.unwrap_or_else(|| FOLDER.to_owned()));
        let usual = folder.join(FILE);
        let last_resort = beside(installed, ".upgrade.json");
        let writable =
            || fs::create_dir_all(&folder).is_ok() && access(&folder, Access::WRITE_OK).is_ok();
        let path = if usual.exists() || (!last_resort.exists() && writable()) {
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
    pub fn look(installed: &Path) -> Option<(PathBuf, Result<State, String>)> {
        let places = [Path::new(FOLDER).join(FILE), beside(installed, ".upgrade.json")];
        let path = places.into_iter().find(|path| path.exists())?;
        let text = fs::read(&path).map_err(|error| error.to_string());
        let state = text.and_then(|text| {
            serde_json::from_slice(&text).map_err(|error| format!("damaged: {error}"))
        });
        Some((path, state))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered; what can't be read as such is set aside, and nothing is remembered.
    pub fn read(&self) -> State {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return State::default(),
            Err(error) => {
                log::error!("{}", on("read", &self.path, &error));
                return State::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            let bad = beside(&self.path, ".bad");
            let aside = match fs::rename(&self.path, &bad) {
                Ok(()) => format!("set aside as {}", bad.display()),
                Err(error) => on("rename", &self.path, &error),
            };
            log::error!("{} is damaged ({error}); {aside}", self.path.display());
            State::default()
        })
    }

    /// Reads, changes and writes it, with nobody else doing so in between. On return it is on
    /// disk.
    ///
    /// # Errors
    /// The operating system's own; the file is then as it was.
    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        let locked = self.lock()?;
        let before = self.read();
        let mut state = before.clone();
        let result = change(&mut state);
        if state != before {
            self.write(&state)?;
            locked.sync_all()?;
        }
        Ok(result)
    }

    /// Removes what a process has left that was killed while it wrote.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn clean(&self) -> io::Result<()> {
        let _locked = self.lock()?;
        swap::remove(&beside(&self.path, ".tmp"))
    }

    /// The folder, which nobody else locks while it lives.
    fn lock(&self) -> io::Result<File> {
        let folder = File::open(self.path.parent().unwrap_or(Path::new("/")))?;
        let end = Instant::now() + PATIENCE;
        while let Err(error) = flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            if Instant::now() >= end {
                return Err(error.into());
            }
            wait::pause(Duration::from_millis(5));
        }
        Ok(folder)
    }

    fn write(&self, state: &State) -> io::Result<()> {
        if *state == State::default() {
            return fs::remove_file(&self.path);
        }
        let new = beside(&self.path, ".tmp");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let text = serde_json::to_vec(state)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        let written = written.and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

impl Lock {
    /// Held by the one installation that may run.
    ///
    /// # Errors
    /// [`crate::wire::rpc::BUSY`] while there is another.
    pub fn of_installations() -> Result<Lock, Error> {
        // Something that is there on every machine, and that nothing else locks.
        Lock::of(Path::new("/etc"), "another installation is under way; wait for its end")
    }

    /// The lock of an upgrader that was killed, and may still be dying.
    ///
    /// # Errors
    /// [`crate::wire::rpc::BUSY`] where another one is at work for good.
    pub fn inherit(installed: &Path) -> Result<Lock, Error> {
        let end = Instant::now() + DYING;
        loop {
            match Lock::take(installed) {
                Err(error) if error.code == crate::wire::rpc::BUSY && Instant::now() < end => {
                    wait::pause(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }

    /// # Errors
    /// [`crate::wire::rpc::BUSY`] while another upgrade of the same binary runs.
    pub fn take(installed: &Path) -> Result<Lock, Error> {
        // The binary itself is locked, so nothing has to be created or cleaned.
        Lock::of(installed, "another upgrade is under way; ask again when it is over")
    }

    fn of(path: &Path, busy: &str) -> Result<Lock, Error> {
        let file =
            File::open(path).map_err(|error| Error::not_replaced(on("open", path, &error)))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::busy(format!("busy: {busy}"))),
            Err(error) => Err(Error::not_replaced(on("lock", path, &error.into()))),
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
        assert_eq!(store.read(), State::default());
        let trial = trial(&folder.path().join("agent"), b"new");
        store.change(|state| state.trial = Some(trial.clone())).unwrap();
        assert_eq!(store.read().trial, Some(trial));
        store.change(|state| state.trial = None).unwrap();
        assert_eq!(folder.names(), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = Folder::new();
        let path = folder.path().join("upgrade.json");
        for damaged in ["", "{", "7", r#"{"trial":{"version":"../x"}}"#] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(Store::at(path.clone()).read(), State::default(), "{damaged}");
            assert_eq!(folder.names(), ["upgrade.json.bad"]);
        }
    }

    #[test]
    fn what_a_newer_version_adds_is_no_damage() {
        let folder = Folder::new();
        let path = folder.path().join("upgrade.json");
        fs::write(&path, r#"{"later":1,"unfinished":"1.0"}"#).unwrap();
        assert!(Store::at(path).read().unfinished.is_some());
    }

    #[test]
    fn one_upgrade_at_a_time() {
        let folder = Folder::new();
        let installed = folder.file("agent", b"old");
        let lock = Lock::take(&installed).unwrap();
        assert_eq!(Lock::take(&installed).map(drop).unwrap_err().code, crate::wire::rpc::BUSY);
        drop(lock);
        Lock::take(&installed).unwrap();
    }
}
