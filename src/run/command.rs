//! The one home of running a command to its end: what it printed, or why it failed.

use std::ffi::OsStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::job::{Captured, Children, Output, Progress};

/// How many characters of a command's message are shown.
const REASON: usize = 300;

/// Runs a command to its end and returns what it printed. Not for the loop, which never waits.
///
/// # Errors
/// One line: the program, how it ended, and the first line of its standard error.
pub fn run<W: AsRef<OsStr>>(
    command: &[W],
    patience: Duration,
    children: &Rc<Children>,
) -> Result<String, String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(String::new()) };
    let job = children.start(program.as_ref(), arguments, Instant::now() + patience);
    let finished = job.and_then(|mut job| {
        job.leave_group();
        Captured::new(job).finish()
    });
    let finished = finished.map_err(|error| error.to_string());
    let result = finished.and_then(|(progress, output)| {
        outcome(&progress, &output, patience).unwrap_or_else(|| Ok(String::new()))
    });
    result.map_err(|why| format!("{} failed: {why}", program.as_ref().to_string_lossy()))
}

/// What a command that had `patience` has come to; `None` while it runs.
pub fn outcome(
    progress: &Progress,
    output: &Output,
    patience: Duration,
) -> Option<Result<String, String>> {
    match progress {
        Progress::Running => None,
        Progress::TimedOut => Some(Err(format!("did not end within {} s", patience.as_secs()))),
        Progress::Ended(status) if status.success() => {
            Some(Ok(String::from_utf8_lossy(&output.stdout).into_owned()))
        }
        Progress::Ended(status) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().map(str::trim).find(|line| !line.is_empty());
            let line: String = line.unwrap_or("no message").chars().take(REASON).collect();
            Some(Err(format!("{status}: {}", line.escape_debug())))
        }
    }
}
