//! The right to install: only root has it, and one installation at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use crate::host::files;
use crate::host::lock::Lock;
use crate::host::paths;

/// The file, in the folder of the upgrade state, that an installation locks.
const LOCK: &str = "install.lock";

/// The lock that an installation holds. The lock file is in a folder that only root can read, and
/// is removed with the lock.
pub struct Alone(Option<Lock>);

impl Alone {
    pub fn take() -> Result<Alone, Error> {
        let path = lock_path();
        let folder = files::private_folder(Path::new(paths::STATE));
        match folder.and_then(|()| Lock::take(&path, Duration::ZERO)) {
            Ok(Some(lock)) => Ok(Alone(Some(lock))),
            Ok(None) => {
                let problem =
                    "another installation is under way; run this command again when it has ended";
                Err(Error::Failed(problem.to_owned()))
            }
            Err(error) => Err(Error::Failed(format!("can't lock {}: {error}", path.display()))),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.remove(&lock_path());
        }
        // The folder goes too where the lock file was all that was in it.
        let _ = fs::remove_dir(paths::STATE);
    }
}

pub fn lock_path() -> PathBuf {
    Path::new(paths::STATE).join(LOCK)
}

pub fn require_root(command: &str, dry_run: bool) -> Result<(), Error> {
    match dry_run || rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::Failed(format!(
            "only root can {command}; run: sudo vmkit-agent {command} (--dry-run shows what it does)"
        ))),
    }
}
