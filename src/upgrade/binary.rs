//! Binaries as files: their checksums, and how the previous one comes back.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::request::Checksum;
use crate::host::files;

/// The SHA-256 of the rest of `file`. `sink` gets every byte, in pieces.
///
/// # Errors
/// The operating system's own, or the sink's.
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

/// The SHA-256 of the file at `path`.
///
/// # Errors
/// The operating system's own.
pub fn checksum(path: &Path) -> io::Result<Checksum> {
    digest(&mut File::open(path)?, |_| Ok(()))
}

/// Puts the previous binary in the place of the installed one. It stays under its own name too, so
/// that a guard which is killed now can be started again.
///
/// # Errors
/// The operating system's own; nothing has changed then.
pub fn put_back(previous: &Path, installed: &Path) -> io::Result<()> {
    let new = files::beside(installed, ".back");
    files::remove(&new)?;
    match fs::hard_link(previous, &new) {
        Ok(()) => fs::rename(&new, installed)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        // Some file systems know no links.
        Err(_) => fs::rename(previous, installed)?,
    }
    // Two names of one file are not exchanged: the new name is still there.
    let _ = files::remove(&new);
    // The binary is back, even if the folder can't be synced.
    let _ = files::sync_folder(installed);
    Ok(())
}
