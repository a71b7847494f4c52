//! The restart after a roll-back on a machine whose init system nobody knows: the binary that was
//! given up is ended, and if no supervisor starts the previous one in its place, the guard becomes
//! it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::host::process::{self, Process};
use crate::run::wait;
use crate::upgrade::state::Trial;

/// How long a supervisor has to start the agent again.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);

/// The variables of the agent from before the upgrade: the token may be nowhere else.
#[derive(Default)]
pub struct Memory(Vec<(OsString, OsString)>);

impl Memory {
    /// None where a service manager knows the environment by itself, and none of a process that
    /// can't be told from another.
    pub fn of(trial: &Trial) -> Memory {
        let process = trial.process.as_ref().filter(|_| trial.restart.is_none());
        let environ = process.and_then(|process| {
            let environ = fs::read(format!("/proc/{}/environ", process.pid)).ok()?;
            // Looked at after it was read: then it is this process's and no other's.
            process.lives().then_some(environ)
        });
        let assignment = |bytes: &[u8]| {
            let equals = bytes.iter().position(|byte| *byte == b'=')?;
            let own = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((own(&bytes[..equals]), own(&bytes[equals + 1..])))
        };
        let environ = environ.unwrap_or_default();
        Memory(environ.split(|byte| *byte == 0).filter_map(assignment).collect())
    }
}

/// Sees to it that the installed binary runs, in this very process if need be.
///
/// # Errors
/// Why it can't.
pub fn revive(trial: &Trial, memory: Memory) -> Result<(), String> {
    let installed = &trial.installed;
    // Upgraded by hand, and nobody has started the new binary: the agent from before still runs.
    if trial.process.is_none() && is_running(installed) {
        return Ok(());
    }
    end(trial);
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if is_running(installed) {
            return Ok(());
        }
        wait::pause(STEP);
    }
    let error = Command::new(installed).arg("run").envs(memory.0).exec();
    Err(format!("rolled back, but {} can't be started: {error}", installed.display()))
}

/// Ends the process on trial, whatever it executes by now, and all other agents that were started
/// from the binary that was given up.
pub fn end(trial: &Trial) {
    let agents = Process::agents(&trial.installed).into_iter();
    let given_up = agents.filter(|agent| !agent.runs_file(&trial.installed));
    let mut processes: Vec<_> = given_up.map(|agent| agent.identity).collect();
    let on_trial = trial.process.iter().filter(|process| process.lives());
    processes.extend(on_trial.cloned());
    process::end(&processes);
}

/// Whether an agent runs from the file that is installed now.
fn is_running(installed: &Path) -> bool {
    Process::agents(installed).iter().any(|agent| agent.runs_file(installed))
}
