//! The files beside the installed binary: the staged one, whether it runs here, the previous one,
//! and the exchange. Every step alone leaves a whole binary under the installed name.

use crate::host::files;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};

use crate::host::files::beside;
use crate::run::job::{Captured, Children, Progress, Surroundings};
use crate::upgrade::error::Error;
use crate::upgrade::paths::{previous, staged};
use crate::upgrade::request::{Checksum, Request, Version};

/// How long the new binary may take to say which version it is.
const TEST: Duration = Duration::from_secs(5);

/// The new binary beside the installed one; removed when dropped, unless it was installed.
pub struct Staged {
    path: PathBuf,
    installed: PathBuf,
}

/// The SHA-256 of all that `file` has from here on; `sink` sees it on the way.
pub fn digest(
    file: &mut impl Read,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Checksum> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Checksum::new(hash.finalize().into())),
            Ok(count) => {
                hash.update(&buffer[..count]);
                sink(&buffer[..count])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The checksum of the file at `path`.
pub fn checksum(path: &Path) -> io::Result<Checksum> {
    digest(&mut File::open(path)?, |_| Ok(()))
}

/// Whose the staged binary is to be, and who may do what with it.
struct Ownership {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Staged {
    /// Copies `download` beside the installed binary, with that one's mode and owner, and has it
    /// on disk.
    ///
    /// # Errors
    /// [`crate::wire::rpc::NOT_REPLACED`]: the folder is full, read-only, not ours.
    pub fn copy(download: &mut File, request: &Request, installed: &Path) -> Result<Staged, Error> {
        let like = fs::metadata(installed)
            .map_err(|error| Error::not_replaced(files::on("look at", installed, &error)))?;
        let ownership =
            Ownership { owner: like.uid(), group: like.gid(), mode: like.mode() & 0o7777 };
        Staged::write(download, &request.checksum, installed, &ownership)
    }

    /// The same for a first installation, or one anew: root's, and for everyone to run.
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
        let new = Staged { path: staged(installed), installed: installed.to_owned() };
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
        let checksum = digest(source, |bytes| file.write_all(bytes))?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (ownership.owner, ownership.group) {
            fchown(&file, Some(ownership.owner), Some(ownership.group))?;
        }
        // After the owner: a change of that one takes the set-user-id bits away.
        file.set_permissions(fs::Permissions::from_mode(ownership.mode))?;
        file.sync_all()?;
        Ok(checksum)
    }

    /// Has the new binary say its version, with nothing of ours around it.
    ///
    /// # Errors
    /// [`crate::wire::rpc::UNFIT`]: it does not run here, or is another one.
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
                // Another program can be of the same version, and signed with the same key.
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
            _ => Err(unfit("did not end within 5 s".to_owned())),
        }
    }

    /// Puts it in the place of the installed binary.
    ///
    /// # Errors
    /// [`crate::wire::rpc::NOT_REPLACED`], and the installed one is the one before.
    pub fn install(self) -> Result<(), Error> {
        fs::rename(&self.path, &self.installed)
            .map_err(|error| Error::not_replaced(files::on("replace", &self.installed, &error)))?;
        // It is replaced either way; a folder that can't be synced is no reason to say otherwise.
        let _ = files::sync_folder(&self.installed);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = files::remove(&self.path);
    }
}

/// Whether the installed binary's folder can be written to at all. Asked first, it saves a
/// download.
///
/// # Errors
/// [`crate::wire::rpc::NOT_REPLACED`].
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
        ErrorKind::PermissionDenied => "; run the agent as a user who may",
        _ => "",
    }
}

/// Keeps the installed binary under its second name as well.
///
/// # Errors
/// [`crate::wire::rpc::NOT_REPLACED`]; what was kept before is kept still.
pub fn keep_previous(installed: &Path) -> Result<(), Error> {
    let (previous, new) = (previous(installed), beside(installed, ".prev.new"));
    let keep = || {
        files::remove(&new)?;
        if fs::hard_link(installed, &new).is_err() {
            // Some file systems, and some rules for others' files, know no links.
            fs::copy(installed, &new)?;
            File::open(&new)?.sync_all()?;
        }
        fs::rename(&new, &previous)?;
        // Two names of one file are not exchanged: the new one is still there.
        files::remove(&new)?;
        files::sync_folder(installed)
    };
    keep().map_err(|error| {
        let _ = files::remove(&new);
        Error::not_replaced(files::on("keep the running binary as", &previous, &error))
    })
}

/// Has the previous binary installed again.
pub fn put_back(previous: &Path, installed: &Path) -> io::Result<()> {
    fs::rename(previous, installed)?;
    // It is back either way.
    let _ = files::sync_folder(installed);
    Ok(())
}

#[cfg(test)]
mod tests;
