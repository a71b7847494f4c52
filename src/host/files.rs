//! Files and folders of this user: read, written, made private, removed; and what failed on which.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// What is in a file of this user's, or of root's. Links are not followed.
///
/// # Errors
/// The operating system's own, or that the file is another user's.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let owner = file.metadata()?.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {owner}")));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// Creates the folder at `path` with mode 0700, or takes the permissions of other users away from an
/// existing folder.
///
/// # Errors
/// The operating system's own, or that the folder belongs to another user.
pub fn private_folder(path: &Path) -> io::Result<()> {
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    }
    let there = fs::metadata(path)?;
    if there.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {}", there.uid())));
    }
    match there.mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, Permissions::from_mode(0o700)),
    }
}

/// Removes a file or a link. It is no error if there is none.
///
/// # Errors
/// The operating system's own.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a new file that only this user can read, in the place of a file or a link. It is not synced.
///
/// # Errors
/// The operating system's own.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<File> {
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Syncs the folder of `file`, so that renames and removals there are on disk.
///
/// # Errors
/// The operating system's own.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The message of a failed file operation: "can't {what} {path}: {error}".
pub fn on(what: &str, path: &Path, error: &io::Error) -> String {
    format!("can't {what} {}: {error}", path.display())
}

/// `path` with `suffix` added to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn a_folder_becomes_private() {
        let folder = Folder::new("private");
        let made = folder.0.join("a/b");
        let mode = || fs::metadata(&made).unwrap().mode() & 0o7777;
        private_folder(&made).unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&made, Permissions::from_mode(0o755)).unwrap();
        private_folder(&made).unwrap();
        assert_eq!(mode(), 0o700);
        assert!(private_folder(Path::new("/dev/null/x")).is_err());
    }
}
