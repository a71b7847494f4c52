//! A command that is run to its end: what it printed, or why it failed. Not for the loop, which
//! does not wait.

use std::ffi::OsStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::job::{Captured, Children, Progress};

/// How much of what a command says is shown.
const REASON: usize = 300;

/// Runs a command to its end. What it printed.
///
/// # Errors
/// That it failed, and what it said.
pub fn run<W: AsRef<OsStr>>(
    command: &[W],
    patience: Duration,
    children: &Rc<Children>,
) -> Result<String, String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(String::new()) };
    let job = children.start(program.as_ref(), arguments, Instant::now() + patience);
    let program = program.as_ref().to_string_lossy();
    let finished = job.and_then(|mut job| {
        job.leave_group();
        Captured::new(job).finish()
    });
    let (progress, output) = finished.map_err(|error| format!("{program}: {error}"))?;
    match progress {
        Progress::Ended(status) if status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Progress::Ended(status) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String =
                said.lines().next().unwrap_or_default().chars().take(REASON).collect();
            Err(format!("{program} failed with {status}: {}", said.trim()))
        }
        _ => Err(format!("{program} did not end within {} s", patience.as_secs())),
    }
}
