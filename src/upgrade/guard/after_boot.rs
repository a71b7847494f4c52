//! The watch over a probation that a reboot falls into.
//!
//! A transient timer of systemd's ends with the machine, and the new binary may not run at all. So
//! two unit files say the same to the next boot, which reads them if they are still there then.
//! Nothing has to be reloaded for them, neither now nor when they go.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub const TIMER: &str = "vmkit-agent-rollback-boot.timer";
const SERVICE: &str = "vmkit-agent-rollback-boot.service";
const FOLDER: &str = "/etc/systemd/system";
/// What has systemd start a timer at boot.
const WANTS: &str = "/etc/systemd/system/timers.target.wants";

/// From the next boot on, `command` runs `after` so many seconds.
///
/// # Errors
/// When `/etc` can't be written to.
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
    call_off_link()?;
    symlink(path(TIMER), link())?;
    File::open(WANTS)?.sync_all()?;
    File::open(FOLDER)?.sync_all()
}

/// The next boot is not to do anything.
pub fn call_off() {
    for path in files() {
        // Mostly there is none; and one that stays finds its trial over.
        let _ = fs::remove_file(path);
    }
}

/// All that there is of it, in the order in which it goes.
pub fn files() -> [PathBuf; 3] {
    [link(), path(TIMER), path(SERVICE)]
}

fn call_off_link() -> io::Result<()> {
    match fs::remove_file(link()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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

/// A word of a command as systemd reads it: nothing in it stands for anything else.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_themselves() {
        assert_eq!(
            quoted("/usr/local/bin/vmkit-agent.prev"),
            "\"/usr/local/bin/vmkit-agent.prev\""
        );
        assert_eq!(quoted("a b\"%$\\"), "\"a b\\\"%%$$\\\\\"");
    }
}
