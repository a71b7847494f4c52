//! Where the files of an upgrade are: the installed binary, the files beside it, the download.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::request::Version;
use crate::host::files::beside;

/// The end of the previous binary's name, after the installed binary's name.
const PREVIOUS: &str = ".prev";
/// The end of the path that the kernel shows for a file that is gone.
const DELETED: &str = " (deleted)";

/// Where this program is installed.
///
/// # Errors
/// [`super::error::Kind::NotReplaced`] where its file is gone or was replaced.
pub fn installed() -> Result<PathBuf, Error> {
    let path = own()?;
    match path.to_string_lossy().strip_suffix(DELETED) {
        Some(gone) => Err(Error::not_replaced(format!(
            "{gone} was replaced or removed since this agent was started; restart the service first"
        ))),
        None => Ok(path),
    }
}

/// The path of the file that this process was started from. Another file may be there by now, or
/// none.
///
/// # Errors
/// [`super::error::Kind::NotReplaced`] without `/proc`.
pub fn started_from() -> Result<PathBuf, Error> {
    let path = own()?;
    Ok(path.to_string_lossy().strip_suffix(DELETED).map_or(path.clone(), PathBuf::from))
}

/// The installed binary that this program, kept as the previous one, belongs to.
pub fn installed_from_previous() -> PathBuf {
    let path = started_from().unwrap_or_default();
    path.to_string_lossy().strip_suffix(PREVIOUS).map_or(path.clone(), PathBuf::from)
}

fn own() -> Result<PathBuf, Error> {
    std::fs::read_link("/proc/self/exe").map_err(|error| {
        Error::not_replaced(format!("can't tell where this binary is installed: {error}"))
    })
}

/// Where the previous binary is kept.
pub fn previous(installed: &Path) -> PathBuf {
    beside(installed, PREVIOUS)
}

/// The copy of the installed binary on its way to be the previous one.
pub fn unfinished_previous(installed: &Path) -> PathBuf {
    beside(installed, ".prev.new")
}

/// The new binary before it is installed.
pub fn staged(installed: &Path) -> PathBuf {
    beside(installed, ".new")
}

/// Where a download goes: to `/tmp`, or, where that fails, to `folder`, which has the upgrade
/// state and is open to root alone.
pub fn download_paths(folder: &Path, version: &Version) -> [PathBuf; 2] {
    let name = format!("vmkit-agent-{version}");
    [Path::new("/tmp").join(&name), folder.join(name)]
}
