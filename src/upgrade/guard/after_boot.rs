//! The guard of the next boot: a reboot ends the guard's process, and the new binary may not run at
//! all. Two unit files in `/etc` start a guard at the next boot, if they still exist then.
//!
//! Systemd reads unit files at the boot, so nothing has to be reloaded when they are written or
//! removed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::systemd::{BOOT_SERVICE as SERVICE, BOOT_TIMER as TIMER};
use crate::host::files;

const FOLDER: &str = "/etc/systemd/system";
/// The folder of links to the timers that systemd starts at boot.
const WANTS: &str = "/etc/systemd/system/timers.target.wants";

/// Has every later boot run `command` after so many seconds.
///
/// # Errors
/// The operating system's own, where `/etc` can't be written to.
pub fn arm(command: &[OsString], after: &str) -> io::Result<()> {
    let words: Vec<String> = command.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    let service = format!(
        "[Unit]\n\
         Description=put back the vmkit-agent from before an unconfirmed upgrade\n\n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={}\n",
        words.join(" ")
    );
    let timer = format!(
        "[Unit]\n\
         Description=watch over an upgrade of vmkit-agent\n\n\
         [Timer]\n\
         OnActiveSec={after}\n\
         AccuracySec=1s\n"
    );
    fs::create_dir_all(WANTS)?;
    write(SERVICE, &service)?;
    write(TIMER, &timer)?;
    files::remove(&link())?;
    symlink(path(TIMER), link())?;
    File::open(WANTS)?.sync_all()?;
    File::open(FOLDER)?.sync_all()
}

/// Removes the unit files.
pub fn call_off() {
    for path in files() {
        // Mostly there are none. A guard whose files stay finds its trial over, and ends.
        let _ = fs::remove_file(path);
    }
}

/// The paths of the unit files and the link, in the order of their removal.
pub fn files() -> [PathBuf; 3] {
    [link(), path(TIMER), path(SERVICE)]
}

fn write(name: &str, text: &str) -> io::Result<()> {
    let mut file = File::create(path(name))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn link() -> PathBuf {
    Path::new(WANTS).join(TIMER)
}

/// A word of a command line in a unit file, with everything escaped that systemd expands.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_expands_nothing_in_a_quoted_word() {
        assert_eq!(
            quoted("/usr/local/bin/vmkit-agent.prev"),
            "\"/usr/local/bin/vmkit-agent.prev\""
        );
        assert_eq!(quoted("a b\"%$\\"), "\"a b\\\"%%$$\\\\\"");
    }
}
