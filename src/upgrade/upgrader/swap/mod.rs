//! The swap: stages the new binary beside the installed one, tests it, keeps the installed one as
//! the previous one, and puts the new one in its place. After every step a whole binary has the
//! installed name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use crate::host::files;
use crate::run::job::{Captured, Children, Progress, Surroundings};
use crate::upgrade::binary;
pub use crate::upgrade::binary::{checksum, digest};
use crate::upgrade::error::Error;
use crate::upgrade::paths;
use crate::upgrade::request::{Checksum, Version};

/// How long `--version` of the new binary may take.
const TEST: Duration = Duration::from_secs(5);

/// The new binary beside the installed one. Its file is removed when this value is dropped, unless
/// it was installed.
pub struct Staged {
    path: PathBuf,
    installed: PathBuf,
}

/// The owner, group and mode that the staged binary gets.
struct Ownership {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Staged {
    /// Copies `download` beside the installed binary, with the installed binary's mode and owner,
    /// and syncs it to the disk.
    ///
    /// # Errors
    /// [`crate::upgrade::error::Kind::NotReplaced`]: the folder is full or read-only, or belongs to another user.
    pub fn copy(
        download: &mut File,
        checksum: &Checksum,
        installed: &Path,
    ) -> Result<Staged, Error> {
        let like = fs::metadata(installed)
            .map_err(|error| Error::not_replaced(files::on("look at", installed, &error)))?;
        let ownership =
            Ownership { owner: like.uid(), group: like.gid(), mode: like.mode() & 0o7777 };
        Staged::write(download, checksum, installed, &ownership)
    }

    /// The same for `vmkit-agent install`: owned by root, executable by every user.
    ///
    /// # Errors
    /// As [`Staged::copy`].
    pub fn for_root(
        source: &mut File,
        checksum: &Checksum,
        installed: &Path,
    ) -> Result<Staged, Error> {
        let ownership = Ownership { owner: 0, group: 0, mode: 0o755 };
        Staged::write(source, checksum, installed, &ownership)
    }

    fn write(
        source: &mut File,
        checksum: &Checksum,
        installed: &Path,
        ownership: &Ownership,
    ) -> Result<Staged, Error> {
        let new = Staged { path: paths::staged(installed), installed: installed.to_owned() };
        match files::remove(&new.path).and_then(|()| new.fill(source, ownership)) {
            Ok(written) if written == *checksum => Ok(new),
            Ok(_) => Err(Error::not_replaced(format!(
                "what was written to {} is not what was read; check the disk",
                new.path.display()
            ))),
            Err(error) => {
                Err(Error::not_replaced(files::on("write", &new.path, &error) + advice(&error)))
            }
        }
    }

    fn fill(&self, source: &mut File, ownership: &Ownership) -> io::Result<Checksum> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(&self.path)?;
        source.rewind()?;
        let checksum = binary::digest(source, |bytes| file.write_all(bytes))?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (ownership.owner, ownership.group) {
            fchown(&file, Some(ownership.owner), Some(ownership.group))?;
        }
        // Set after the owner: a change of owner clears the set-user-id bits.
        file.set_permissions(fs::Permissions::from_mode(ownership.mode))?;
        file.sync_all()?;
        Ok(checksum)
    }

    /// Runs the new binary's `--version`, with none of the agent's variables.
    ///
    /// # Errors
    /// [`crate::upgrade::error::Kind::Unfit`]: it does not run here, or is another program or version.
    /// [`crate::upgrade::error::Kind::NotReplaced`]: it may not be executed in this folder.
    pub fn test(&self, version: &Version, children: &Rc<Children>) -> Result<(), Error> {
        let unfit = |why: String| {
            Error::unfit(format!(
                "version {version} was not installed: its --version {why}; check the release"
            ))
        };
        let end = Instant::now() + TEST;
        let job = children.start_in(Surroundings::Bare, self.path.as_os_str(), ["--version"], end);
        let job = job.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::not_replaced(
                files::on("run", &self.path, &error) + "; is the binary's folder mounted noexec?",
            ),
            _ => unfit(format!("does not run on this machine: {error}")),
        })?;
        let (progress, output) =
            Captured::new(job).finish().map_err(|error| unfit(format!("failed: {error}")))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let first_line = |text: &str| -> String {
            text.lines().next().unwrap_or_default().chars().take(100).collect()
        };
        match progress {
            Progress::Ended(status) if status.success() => {
                let mut words = said.split_whitespace();
                let (name, number) = (words.next(), words.next());
                // Another program may have the same version, and be signed with the same key.
                match name == Some("vmkit-agent") && number == Some(&version.to_string()) {
                    true => Ok(()),
                    false => Err(unfit(format!("says {:?}", first_line(&said)))),
                }
            }
            Progress::Ended(status) => {
                let complaint = first_line(&String::from_utf8_lossy(&output.stderr));
                let complaint = Some(complaint).filter(|text| !text.is_empty());
                let complaint = complaint.map_or(String::new(), |text| format!(": {text:?}"));
                Err(unfit(format!("failed with {status}{complaint}")))
            }
            _ => Err(unfit(format!("did not end within {} s", TEST.as_secs()))),
        }
    }

    /// Puts the staged binary in the place of the installed one.
    ///
    /// # Errors
    /// [`crate::upgrade::error::Kind::NotReplaced`]; the installed binary is unchanged then.
    pub fn install(self) -> Result<(), Error> {
        fs::rename(&self.path, &self.installed)
            .map_err(|error| Error::not_replaced(files::on("replace", &self.installed, &error)))?;
        // The binary is replaced, even if the folder can't be synced.
        let _ = files::sync_folder(&self.installed);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = files::remove(&self.path);
    }
}

/// Checks that the installed binary's folder can be written to. Asked before the download, which
/// would be in vain.
///
/// # Errors
/// [`crate::upgrade::error::Kind::NotReplaced`].
pub fn check_folder(installed: &Path) -> Result<(), Error> {
    let folder = installed.parent().unwrap_or(Path::new("/"));
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        Error::not_replaced(files::on("write to", folder, &error) + advice(&error))
    })
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there",
        ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only, mount it writable",
        ErrorKind::PermissionDenied => "; run the agent as a user with permission, or as root",
        _ => "",
    }
}

/// Keeps the installed binary also as the previous one.
///
/// # Errors
/// [`crate::upgrade::error::Kind::NotReplaced`]; the previous binary is unchanged then.
pub fn keep_previous(installed: &Path) -> Result<(), Error> {
    let (previous, new) = (paths::previous(installed), paths::unfinished_previous(installed));
    let keep = || {
        files::remove(&new)?;
        if fs::hard_link(installed, &new).is_err() {
            // Some file systems have no hard links, and some kernels refuse links to files of
            // other users.
            fs::copy(installed, &new)?;
            File::open(&new)?.sync_all()?;
        }
        fs::rename(&new, &previous)?;
        // `rename` does nothing where both names are links to one file.
        files::remove(&new)?;
        files::sync_folder(installed)
    };
    keep().map_err(|error| {
        let _ = files::remove(&new);
        Error::not_replaced(files::on("keep the running binary as", &previous, &error))
    })
}

#[cfg(test)]
mod tests;
