//! A stand-in for `docker`: the agent under test is pointed at it with `VMKIT_DOCKER_BIN`, so that all
//! rules about containers can be checked on a machine without docker. It is this program again, behind
//! a small script, and knows `logs`, `ps` and `inspect` of a few containers.

mod containers;
mod logs;

pub use logs::half;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The hidden command under which this program is a docker.
pub const COMMAND: &str = "stand-in-for-docker";

/// What the stand-in does instead of its work, as a word in a file: see [`set_mode`].
const MODE: &str = "docker.mode";
const CALLS: &str = "docker.calls";

/// Whether `ps` and `inspect` work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Normal,
    /// They never end.
    Hangs,
    /// There is no daemon.
    Down,
    /// There are so many containers that `containers` does not fit into a message.
    Crowd,
    /// Nor does `container_health`.
    Throng,
}

/// Writes the script `docker` into `folder`, and removes what an earlier run has left there; its path.
pub fn write(folder: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("kit-") || name == MODE || name == CALLS {
            fs::remove_file(path)?;
        }
    }
    let this = std::env::current_exe()?;
    let path = folder.join("docker");
    let (this, place) = (quoted(&this), quoted(folder));
    fs::write(&path, format!("#!/bin/sh\nexec {this} {COMMAND} {place} \"$@\"\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

pub fn set_mode(folder: &Path, mode: Mode) -> io::Result<()> {
    fs::write(folder.join(MODE), format!("{mode:?}"))
}

/// The calls so far: process and arguments.
pub fn calls(folder: &Path) -> Vec<(u32, String)> {
    let text = fs::read_to_string(folder.join(CALLS)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(pid, rest)| Some((pid.parse().ok()?, rest.to_owned()))).collect()
}

/// A line for the container `name`, which a follow then brings. `stderr`: by standard error.
pub fn print_line(folder: &Path, name: &str, stderr: bool, text: &str) -> io::Result<()> {
    let stream = if stderr { 'e' } else { 'o' };
    let now = logs::stamp_now();
    let mut file = fs::OpenOptions::new().create(true).append(true).open(folder.join(name))?;
    file.write_all(format!("{stream}{now} {text}\n").as_bytes())
}

/// Ends the container `name`. `kit-halves` prints the rest of its line first.
pub fn end_container(folder: &Path, name: &str) -> io::Result<()> {
    fs::write(logs::ended(folder, name), "")
}

/// The time of a line of `kit-many`.
pub fn stamp_of(line: usize) -> String {
    logs::stamp(logs::FIRST + logs::STEP * line as i128)
}

/// Is docker: with the arguments after [`COMMAND`].
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut words: Vec<String> =
        arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    if words.len() < 2 {
        eprintln!("{COMMAND}: no folder, or no command");
        return ExitCode::from(125);
    }
    let folder = PathBuf::from(words.remove(0));
    note_call(&folder, &words);
    let mode = fs::read_to_string(folder.join(MODE)).unwrap_or_default();
    let code = match words[0].as_str() {
        "logs" => logs::run(&folder, &words[1..]),
        "ps" | "inspect" if mode == "Hangs" => logs::hang(&folder),
        "ps" | "inspect" if mode == "Down" => logs::daemon_is_down(),
        "ps" => containers::ps(&mode),
        "inspect" => containers::inspect(&mode, &words[1..]),
        other => {
            eprintln!("docker: '{other}' is not a docker command.");
            1
        }
    };
    ExitCode::from(code)
}

fn note_call(folder: &Path, words: &[String]) {
    let line = format!("{} {}\n", std::process::id(), words.join(" "));
    // In one write, because several run at a time.
    let file = fs::OpenOptions::new().create(true).append(true).open(folder.join(CALLS));
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
