//! The restart after a roll-back where no command restarts the agent: the processes of the new
//! binary are ended. If no supervisor starts the previous binary then, the guard becomes the agent.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::host::process::{self, Identity, Process};
use crate::run::wait;
use crate::upgrade::state::Trial;

/// How long a supervisor may take to start the agent again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the guard looks for that agent.
const LOOK: Duration = Duration::from_millis(200);

/// The environment of the agent from before the upgrade. It may be the only place of the token.
#[derive(Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Empty where the agent's process is not known for certain.
    pub fn of(trial: &Trial) -> Environment {
        let environ = trial.process.as_ref().and_then(|process| {
            let environ = fs::read(format!("/proc/{}/environ", process.pid)).ok()?;
            // The pid was not another process's while it was read, if the process still lives.
            process.lives().then_some(environ)
        });
        let assignment = |bytes: &[u8]| {
            let equals = bytes.iter().position(|byte| *byte == b'=')?;
            let own = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((own(&bytes[..equals]), own(&bytes[equals + 1..])))
        };
        let environ = environ.unwrap_or_default();
        Environment(environ.split(|byte| *byte == 0).filter_map(assignment).collect())
    }
}

/// Has the installed binary run, in this process if no supervisor starts it.
///
/// # Errors
/// Why it can't be executed.
pub fn revive(trial: &Trial, environment: Environment) -> Result<(), String> {
    let installed = &trial.installed;
    end(trial);
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if is_running(installed) {
            return Ok(());
        }
        wait::pause(LOOK);
    }
    let error = Command::new(installed).arg("run").envs(environment.0).exec();
    Err(format!("rolled back, but {} can't be started: {error}", installed.display()))
}

/// Ends the process on trial, whatever it executes by now, and all other agents that run the binary
/// that was rolled back.
pub fn end(trial: &Trial) {
    let agents = Process::agents(&trial.installed).into_iter();
    let given_up = agents.filter(|agent| !agent.runs_file(&trial.installed));
    let mut processes: Vec<_> = given_up.map(|agent| agent.identity).collect();
    // The agent from before still runs where nobody could restart it.
    let is_previous = |process: &Identity| {
        Process::find(process.pid).is_some_and(|process| process.runs_file(&trial.installed))
    };
    let on_trial = trial.process.iter().filter(|process| process.lives() && !is_previous(process));
    processes.extend(on_trial.cloned());
    process::end(&processes);
}

/// Whether an agent runs the file that is installed now.
fn is_running(installed: &Path) -> bool {
    Process::agents(installed).iter().any(|agent| agent.runs_file(installed))
}
