//! Where the files of an upgrade are: the installed binary, the binaries beside it, the download.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::request::Version;
use crate::host::files::beside;

/// What follows the name of the binary before the installed one.
const PREVIOUS: &str = ".prev";

/// Where this very program is installed.
///
/// # Errors
/// [`crate::wire::rpc::NOT_REPLACED`] where its file is gone or another has taken its place.
pub fn installed() -> Result<PathBuf, Error> {
    let path = std::fs::read_link("/proc/self/exe").map_err(|error| {
        Error::not_replaced(format!("can't tell where this binary is installed: {error}"))
    })?;
    match path.to_string_lossy().strip_suffix(" (deleted)") {
        Some(gone) => Err(Error::not_replaced(format!(
            "{gone} was replaced or removed since this agent was started; restart the service first"
        ))),
        None => Ok(path),
    }
}

/// Where the binary is installed that this program, kept as the previous one, was before.
pub fn installed_from_previous() -> PathBuf {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let own = own.to_string_lossy();
    let own = own.strip_suffix(" (deleted)").unwrap_or(&own);
    own.strip_suffix(PREVIOUS).unwrap_or(own).into()
}

/// Where the binary before the installed one is kept.
pub fn previous(installed: &Path) -> PathBuf {
    beside(installed, PREVIOUS)
}

/// A new binary on its way to be the installed one.
pub fn staged(installed: &Path) -> PathBuf {
    beside(installed, ".new")
}

/// Where a download goes: to `/tmp`, and, where anything is in the way there, to the folder of the
/// upgrade state, which is root's alone.
pub fn download_paths(folder: &Path, version: &Version) -> [PathBuf; 2] {
    let name = format!("vmkit-agent-{version}");
    [Path::new("/tmp").join(&name), folder.join(name)]
}
