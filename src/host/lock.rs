//! A lock that one process holds at a time, as a file.
//!
//! `flock` needs only permission to read. So any user can lock a file that he can open, and nothing
//! that another user can open is locked or waited for here.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::run::wait;

/// How often a wait for a lock tries again.
const LOOK: Duration = Duration::from_millis(20);

/// A held lock. It is released when this value is dropped, or at the end of the process.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Locks the file at `path`, which is created with mode 0600. Waits up to `patience` while
    /// another process holds the lock; none if it holds it still.
    ///
    /// # Errors
    /// The operating system's own, or that the file belongs to another user.
    pub fn take(path: &Path, patience: Duration) -> io::Result<Option<Lock>> {
        let started = Instant::now();
        loop {
            let file = open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path) => return Ok(Some(Lock { file })),
                // The last holder has removed the file in between.
                Ok(()) => {}
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if started.elapsed() >= patience => return Ok(None),
                Err(Errno::WOULDBLOCK) => wait::pause(LOOK),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Releases the lock and removes its file.
    pub fn remove(self, path: &Path) {
        if is_at(&self.file, path) {
            let _ = fs::remove_file(path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
    let there = file.metadata()?;
    if there.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {}", there.uid())));
    }
    if there.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Whether the open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |file: fs::Metadata| (file.dev(), file.ino());
    let there = fs::symlink_metadata(path).map(place);
    there.is_ok_and(|there| file.metadata().map(place).is_ok_and(|own| own == there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Folder;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_lock_is_held_by_one_and_read_by_nobody_else() {
        let folder = Folder::new("lock");
        let path = folder.0.join("lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let lock = Lock::take(&path, Duration::ZERO).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(lock.is_some());
        let started = Instant::now();
        assert!(Lock::take(&path, Duration::from_millis(50)).unwrap().is_none());
        assert!(started.elapsed() >= Duration::from_millis(50));
        drop(lock);
        assert!(Lock::take(&path, Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_removed_lock_is_made_anew() {
        let folder = Folder::new("removed");
        let path = folder.0.join("lock");
        let lock = Lock::take(&path, Duration::ZERO).unwrap().unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || {
                Lock::take(&path, Duration::from_secs(5))
                    .unwrap()
                    .is_some_and(|lock| is_at(&lock.file, &path))
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        lock.remove(&path);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn a_link_is_no_lock() {
        let folder = Folder::new("link");
        let (target, path) = (folder.0.join("target"), folder.0.join("lock"));
        symlink(&target, &path).unwrap();
        assert!(Lock::take(&path, Duration::ZERO).is_err());
        assert!(!target.exists());
    }
}
