//! The agent as a service: the init system, whether it has the agent enabled and running, and
//! which binary that is.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{Answer, Machine};
use super::report::Report;
use crate::host::init::{Init, REGISTERED, State};
use crate::host::paths::PROGRAM;
use crate::host::process::Process;
use crate::run::job::Surroundings;

const PATIENCE: Duration = Duration::from_secs(5);

pub struct Service {
    init: Init,
    state: Result<State, String>,
    /// Where the binary is installed that runs, or that is to.
    pub installed: PathBuf,
    /// Whether the init system knows of it.
    pub defined: bool,
    pub agent: Option<Process>,
    doctor: Process,
}

impl Service {
    /// # Errors
    /// A signal that asks this process to end.
    pub fn find(machine: &Machine) -> io::Result<Service> {
        let init = Init::find();
        let state = init.state(&machine.children);
        machine.go_on()?;
        let doctor = Process::own();
        let usual = Path::new(PROGRAM);
        // A service that is defined has to find the usual one.
        let defined = init.definition().is_some_and(|service| Path::new(service.path).exists());
        let installed = match &doctor.program {
            Some(own) if !defined && !usual.exists() => own.clone(),
            _ => usual.to_owned(),
        };
        let known = state.as_ref().ok().and_then(|state| state.pid).and_then(Process::find);
        let agent = known.or_else(|| Process::agents(&installed).into_iter().next());
        let installed = agent.as_ref().and_then(|agent| agent.program.clone()).unwrap_or(installed);
        Ok(Service { init, state, installed, defined, agent, doctor })
    }

    /// Whose rights count: the agent's, else this process's.
    pub fn reader(&self) -> &Process {
        self.agent.as_ref().unwrap_or(&self.doctor)
    }

    /// # Errors
    /// A signal that asks this process to end.
    pub fn check(&self, machine: &Machine, report: &mut Report) -> io::Result<()> {
        match self.init {
            Init::Systemd => report.pass("init", "systemd"),
            Init::OpenRc => report.pass("init", "OpenRC"),
            Init::None => report.skip("init", "none that is known; see what else starts the agent"),
        }
        self.version(machine, report)?;
        self.state(report);
        Ok(())
    }

    fn state(&self, report: &mut Report) {
        let Some((definition, start, enable)) = self.commands() else {
            return match &self.agent {
                Some(agent) => report.pass("service", format!("runs as process {}", agent.pid())),
                None => report.warn("service", "no agent runs here", "vmkit-agent run"),
            };
        };
        let log = self.init.log_command();
        match &self.state {
            Err(error) => report.fail("service", error, log),
            Ok(state) if state.masked && !state.active => {
                let next = format!("systemctl unmask vmkit-agent && {start}");
                report.fail("service", "masked", next);
            }
            Ok(state) if !state.active && !state.enabled && !self.defined => {
                report.fail("service", format!("no {definition}"), "sudo vmkit-agent install");
            }
            Ok(state) if !state.active => {
                let enabled = if state.enabled { "enabled" } else { "not enabled" };
                report.fail(
                    "service",
                    format!("not running, {enabled}"),
                    format!("{start}; {log}"),
                );
            }
            // OpenRC knows its supervisor only.
            Ok(_) if self.is_gone_under_openrc() => {
                report.fail("service", "its supervisor runs, and no agent", log);
            }
            Ok(state) if state.unsettled => {
                report.fail("service", "on its way up or down, or crashing", log);
            }
            // It dials by itself, and may have been started before something was put right.
            Ok(state) if !state.status.is_empty() && !state.status.starts_with(REGISTERED) => {
                let seen = format!("running, but not registered: {}", state.status);
                report.fail("service", seen, format!("{}; {log}", self.restart()));
            }
            Ok(state) if !state.enabled => {
                report.warn("service", "running, but not from the next boot on", enable);
            }
            Ok(state) => {
                let process = match (state.pid, &*state.status) {
                    (None, _) => String::new(),
                    (Some(pid), "") => format!(" as process {pid}"),
                    (Some(pid), status) => format!(" as process {pid}: {status}"),
                };
                report.pass("service", format!("enabled, running{process}"));
            }
        }
    }

    /// Where nothing else says so; to others than root another's program is a secret.
    fn is_gone_under_openrc(&self) -> bool {
        self.init == Init::OpenRc && self.agent.is_none() && self.doctor.identity.user == 0
    }

    /// Where the service is defined, and what starts and enables it; none without an init system.
    fn commands(&self) -> Option<(&'static str, String, String)> {
        let (start, enable) = (self.init.start()?, self.init.enable()?);
        Some((self.init.definition()?.path, start.join(" "), enable.join(" ")))
    }

    /// What shows the agent's log.
    pub fn log_command(&self) -> &'static str {
        self.init.log_command()
    }

    /// What does this to docker's service.
    pub fn docker(&self, verb: &str) -> String {
        match self.init {
            Init::OpenRc => format!("rc-service docker {verb}"),
            Init::Systemd | Init::None => format!("systemctl {verb} docker"),
        }
    }

    /// `command`, and what has the agent notice.
    pub fn then_restart(&self, command: &str) -> String {
        let restart = self.init.restart();
        restart.map_or(command.to_owned(), |words| format!("{command} && sudo {}", words.join(" ")))
    }

    pub fn restart(&self) -> String {
        self.init.restart().map_or("restart it".to_owned(), |words| words.join(" "))
    }

    /// Why the installed file is not run by root, who would run it for somebody else.
    fn stranger_may_write(&self) -> Option<String> {
        let file = fs::metadata(&self.installed).ok()?;
        let trusted = file.uid() == 0 && file.mode() & 0o022 == 0;
        let problem = || format!("owner {}, mode {:04o}", file.uid(), file.mode() & 0o7777);
        (self.doctor.identity.user == 0 && !trusted)
            .then(|| format!("not run: others than root may write to it ({})", problem()))
    }

    fn version(&self, machine: &Machine, report: &mut Report) -> io::Result<()> {
        let path = self.installed.display();
        let answer = match self.stranger_may_write() {
            Some(why) => Err(why),
            None => version(&self.installed, machine)?,
        };
        let installed = match answer {
            Ok(version) => version,
            Err(why) => {
                report.fail("version", format!("{path}: {why}"), "sudo vmkit-agent install");
                return Ok(());
            }
        };
        let Some(agent) = &self.agent else {
            report.pass("version", format!("{path} is {installed}; none runs"));
            return Ok(());
        };
        // Not asked from the running file itself: that could be any program.
        if agent.program.is_none() {
            let seen = format!("{path} is {installed}; this user may not see what runs");
            report.skip("version", seen);
        } else if agent.runs_file(&self.installed) {
            report.pass("version", format!("{installed}, running and in {path}"));
        } else {
            let seen = format!("{path} ({installed}) is not the file that the agent runs");
            report.warn("version", seen, self.restart());
        }
        Ok(())
    }
}

/// The version that a binary says it is.
fn version(program: &Path, machine: &Machine) -> io::Result<Result<String, String>> {
    let arguments = ["--version".to_owned()];
    Ok(match machine.ask(Surroundings::Bare, program.as_os_str(), &arguments, PATIENCE)? {
        Answer::Ended { status, stdout, .. } if status.success() => {
            let words = stdout.lines().next().unwrap_or_default().split_whitespace();
            Ok(words.skip(1).collect::<Vec<_>>().join(" ").chars().take(100).collect())
        }
        Answer::Ended { status, .. } => Err(format!("--version failed with {status}")),
        Answer::TimedOut => Err(format!("--version did not end within {} s", PATIENCE.as_secs())),
        Answer::NotStarted(error) => Err(error.to_string()),
    })
}
