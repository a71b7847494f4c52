//! The files that hold configuration, or that it names.

use std::fs;
use std::io;
use std::path::Path;

use super::env_file;

/// Where the service manager and a start by hand find the variables.
pub const ENV_FILE: &str = "/etc/vmkit/agent.env";

/// The assignments in [`ENV_FILE`].
pub(super) fn read_env_file() -> io::Result<Vec<(String, String)>> {
    Ok(env_file::parse(&env_file_text()?))
}

/// The text of [`ENV_FILE`]. Bytes that are not UTF-8 are replaced: a comment in another encoding
/// is no reason not to be connected.
///
/// # Errors
/// The operating system's own.
pub fn env_file_text() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_regular(Path::new(ENV_FILE))?).into_owned())
}

/// The bytes of a regular file. Nothing else is read, because reading a named pipe would wait for
/// its writer.
///
/// # Errors
/// The operating system's own, or that `path` is not a regular file.
pub(super) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}
