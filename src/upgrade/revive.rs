//! The restart after a roll-back on a machine whose init system nobody knows: the given-up binary
//! is ended, and if no supervisor starts the previous one in its place, the guard becomes it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::state::Trial;
use crate::run::wait;

/// How long the given-up binary has for its farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a supervisor has to start the agent again.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

/// The agent from before the upgrade.
#[derive(Default)]
pub struct Memory {
    /// The token may be nowhere else.
    environment: Vec<(OsString, OsString)>,
    /// When it was started. It stays the same process when it executes the new binary, and also
    /// when that executes something else.
    started: Option<String>,
}

impl Memory {
    /// None where a service manager knows the environment by itself.
    pub fn of(trial: &Trial) -> Memory {
        let agent = trial.agent;
        let known = agent.filter(|_| trial.restart.is_none());
        let environment = known.and_then(|pid| fs::read(format!("/proc/{pid}/environ")).ok());
        let assignment = |bytes: &[u8]| {
            let equals = bytes.iter().position(|byte| *byte == b'=')?;
            let own = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((own(&bytes[..equals]), own(&bytes[equals + 1..])))
        };
        let environment = environment.unwrap_or_default();
        Memory {
            environment: environment.split(|byte| *byte == 0).filter_map(assignment).collect(),
            started: agent.and_then(start_time),
        }
    }
}

/// Sees to it that the installed binary runs, in this very process if need be.
///
/// # Errors
/// Why it can't.
pub fn revive(trial: &Trial, memory: Memory) -> Result<(), String> {
    // By hand, and nobody has started the new one: what runs is the one from before.
    if trial.agent.is_none() && is_running(&trial.installed, true) {
        return Ok(());
    }
    end(trial, &memory);
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if is_running(&trial.installed, false) {
            return Ok(());
        }
        wait::pause(STEP * 4);
    }
    let error = Command::new(&trial.installed).arg("run").envs(memory.environment).exec();
    Err(format!("rolled back, but {} can't be started: {error}", trial.installed.display()))
}

/// Ends the agent's process, if that is what its number still stands for.
pub fn end(trial: &Trial, memory: &Memory) {
    let Some(agent) = trial.agent else { return };
    let Some(pid) = i32::try_from(agent).ok().and_then(Pid::from_raw) else { return };
    let started = memory.started.as_ref();
    let runs = || {
        let program = fs::read_link(format!("/proc/{agent}/exe")).unwrap_or_default();
        let program = program.to_string_lossy().into_owned();
        let program = Path::new(program.strip_suffix(" (deleted)").unwrap_or(&program));
        // A zombie, which is as good as gone, has no program.
        let lives = program != Path::new("");
        program == trial.installed
            || lives && started.is_some() && start_time(agent).as_ref() == started
    };
    let give_up = Instant::now() + FAREWELL;
    if runs() {
        let _ = kill_process(pid, Signal::TERM);
    }
    while runs() {
        if Instant::now() >= give_up {
            let _ = kill_process(pid, Signal::KILL);
            return;
        }
        wait::pause(STEP);
    }
}

/// When a process was started, in the kernel's ticks.
pub fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, also parentheses.
    Some(stat.rsplit(')').next()?.split_whitespace().nth(19)?.to_owned())
}

/// Whether some process is the agent, from the file that is installed now or, if `ever`, from one
/// that was.
fn is_running(installed: &Path, ever: bool) -> bool {
    let deleted = installed.display().to_string() + " (deleted)";
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let path = process.path();
        let arguments = || fs::read(path.join("cmdline")).unwrap_or_default();
        let is_agent = |arguments: &[u8]| {
            matches!(arguments.split(|byte| *byte == 0).nth(1), None | Some(b"" | b"run"))
        };
        process.file_name() != *std::process::id().to_string()
            && fs::read_link(path.join("exe"))
                .is_ok_and(|program| program == installed || ever && program == Path::new(&deleted))
            && is_agent(&arguments())
    })
}
