//! The agent as a service: the init system, whether the service is enabled and running, and which
//! binary is installed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{Answer, Machine};
use super::report::Report;
use crate::config;
use crate::host::init::{self, Init, REGISTERED, State};
use crate::host::paths::PROGRAM;
use crate::host::process::Process;
use crate::run::job::Surroundings;
use crate::upgrade;

const PATIENCE: Duration = Duration::from_secs(5);

pub struct Service {
    init: Init,
    state: Result<State, String>,
    /// The path of the installed binary: the one that runs, else the one that is to run.
    pub installed: PathBuf,
    /// Whether a service is defined for the init system.
    pub defined: bool,
    /// The agent that runs.
    pub agent: Option<Process>,
    doctor: Process,
}

impl Service {
    /// # Errors
    /// A signal that ends this process.
    pub fn find(machine: &Machine) -> io::Result<Service> {
        let init = Init::find();
        let state = init.state(&machine.children);
        machine.go_on()?;
        let doctor = Process::own();
        let usual = Path::new(PROGRAM);
        // A service that is defined starts the usual one.
        let defined = init.definition().is_some_and(|service| Path::new(service.path).exists());
        let previous = upgrade::installed_from_previous();
        let installed = match &doctor.program {
            // A bad version is installed, and this doctor is the one before it.
            Some(own) if *own == upgrade::previous(&previous) => previous,
            Some(own) if !defined && !usual.exists() => own.clone(),
            _ => usual.to_owned(),
        };
        let known = state.as_ref().ok().and_then(|state| state.pid).and_then(Process::find);
        let agent = known.or_else(|| Process::agents(&installed).into_iter().next());
        let installed = agent.as_ref().and_then(|agent| agent.program.clone()).unwrap_or(installed);
        Ok(Service { init, state, installed, defined, agent, doctor })
    }

    /// The process whose rights count: the agent, else this process.
    pub fn reader(&self) -> &Process {
        self.agent.as_ref().unwrap_or(&self.doctor)
    }

    /// Whether this user may do and see what the agent may.
    pub fn has_agents_rights(&self) -> bool {
        let doctor = self.doctor.identity.user;
        let agent = self.agent.as_ref().map(|agent| agent.identity.user);
        let is_own = !self.defined && agent.is_none_or(|agent| agent == doctor);
        doctor == 0 || (is_own && !env_file_is_closed())
    }

    /// Whether no agent runs, and this user can't know which rights the agent would have.
    pub fn agents_rights_are_unknown(&self) -> bool {
        self.agent.is_none() && !self.has_agents_rights()
    }

    /// # Errors
    /// A signal that ends this process.
    pub fn check(&self, machine: &Machine, report: &mut Report) -> io::Result<()> {
        match self.init {
            Init::Systemd => report.pass("init", "systemd"),
            Init::OpenRc => report.pass("init", "OpenRC"),
            Init::None => {
                report.skip("init", "neither systemd nor OpenRC; nothing starts the agent")
            }
        }
        self.version(machine, report)?;
        self.state(report);
        self.second_agent(report);
        Ok(())
    }

    fn state(&self, report: &mut Report) {
        let Some((definition, start, enable)) = self.commands() else {
            return match &self.agent {
                Some(agent) => report.pass("service", format!("runs as process {}", agent.pid())),
                None => report.warn("service", "no agent runs here", self.own_command("run")),
            };
        };
        let log = self.log_command();
        match &self.state {
            Err(error) => report.fail("service", error, log),
            Ok(state) if state.masked && !state.active => {
                // The mask is in the place of the unit, which is gone.
                let install = self.own_command("install");
                let next = format!("sudo systemctl unmask vmkit-agent && {install}");
                report.fail("service", "masked", next);
            }
            Ok(state) if !state.active && !state.enabled && !self.defined => {
                report.fail("service", format!("no {definition}"), self.own_command("install"));
            }
            Ok(state) if !state.active => {
                let enabled = if state.enabled { "enabled" } else { "not enabled" };
                let seen = format!("not running, {enabled}{}", last_exit(state));
                report.fail("service", seen, format!("{start}; {log}"));
            }
            // OpenRC knows its supervisor only.
            Ok(_) if self.is_gone_under_openrc() => {
                report.fail("service", "the supervisor runs, but no agent does", log);
            }
            Ok(state) if state.unsettled => {
                report.fail("service", format!("restarting{}", last_exit(state)), log);
            }
            // The service may have been started before the cause was corrected.
            Ok(state) if !state.status.is_empty() && !state.status.starts_with(REGISTERED) => {
                let seen = format!("running, but not registered: {}", state.status);
                report.fail("service", seen, format!("{}; {log}", self.restart()));
            }
            Ok(state) if !state.enabled => {
                let seen = "running, but not enabled: it will not start after a reboot";
                report.warn("service", seen, enable);
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

    /// The gateway keeps one session for an instance id: two agents close each other's for ever.
    fn second_agent(&self, report: &mut Report) {
        let Some(agent) = &self.agent else { return };
        let others: Vec<String> = Process::all_agents()
            .iter()
            .filter(|other| other.pid() != agent.pid())
            .map(|other| other.pid().to_string())
            .collect();
        if !others.is_empty() {
            let seen = format!(
                "more than one agent runs here: process {} and process {}; they close each \
                 other's session",
                agent.pid(),
                others.join(" and process ")
            );
            report.warn("agents", seen, format!("sudo kill {}", others.join(" ")));
        }
    }

    /// Only root can tell: other users can't see which program a process runs.
    fn is_gone_under_openrc(&self) -> bool {
        self.init == Init::OpenRc && self.agent.is_none() && self.doctor.identity.user == 0
    }

    /// The path of the service's definition, and the commands that start and enable the service; none
    /// without an init system.
    fn commands(&self) -> Option<(&'static str, String, String)> {
        let (start, enable) = (self.init.start()?, self.init.enable()?);
        Some((self.init.definition()?.path, sudo(start), sudo(enable)))
    }

    /// A command of this program for root to type; by its path where it is not installed.
    pub fn own_command(&self, arguments: &str) -> String {
        match &self.doctor.program {
            Some(own) if !Path::new(PROGRAM).exists() => {
                format!("sudo {} {arguments}", own.display())
            }
            _ => format!("sudo vmkit-agent {arguments}"),
        }
    }

    /// The command that shows the agent's log.
    pub fn log_command(&self) -> String {
        format!("sudo {}", self.init.log_command())
    }

    /// The command that does `verb` to docker's service.
    pub fn docker(&self, verb: &str) -> String {
        match self.init {
            Init::OpenRc => format!("sudo rc-service docker {verb}"),
            Init::Systemd | Init::None => format!("sudo systemctl {verb} docker"),
        }
    }

    /// The command that shows the mount at `path` as the agent sees it.
    pub fn mount_command(&self, path: &Path) -> String {
        let path = path.display();
        match &self.agent {
            Some(agent) => format!("sudo findmnt --task {} --target {path}", agent.pid()),
            None => format!("findmnt --target {path}"),
        }
    }

    /// A service may have a mount namespace of its own, which later mounts do not change.
    pub fn as_the_agent_sees_it(&self) -> &'static str {
        match self.agent {
            Some(_) => ", as the running agent sees it; after remounting, restart the agent",
            None => "",
        }
    }

    /// `command` and then a restart, after which it applies to the agent.
    pub fn then_restart(&self, command: &str) -> String {
        let restart = self.init.restart();
        restart.map_or(command.to_owned(), |words| format!("{command} && {}", sudo(words)))
    }

    pub fn restart(&self) -> String {
        match (self.init.restart(), &self.agent) {
            (Some(words), _) => sudo(words),
            (None, Some(agent)) => {
                format!("sudo kill {}; sudo {} run", agent.pid(), self.installed.display())
            }
            (None, None) => format!("sudo {} run", self.installed.display()),
        }
    }

    /// Why root does not run the installed file: root would run it for another user.
    fn stranger_may_write(&self) -> Option<String> {
        let file = fs::metadata(&self.installed).ok()?;
        let trusted = file.uid() == 0 && file.mode() & 0o022 == 0;
        let problem = || format!("owner {}, mode {:04o}", file.uid(), file.mode() & 0o7777);
        (self.doctor.identity.user == 0 && !trusted)
            .then(|| format!("not run: users other than root may write to it ({})", problem()))
    }

    /// The path of this doctor, where it is the version before the installed one.
    fn previous(&self) -> Option<&Path> {
        let own = self.doctor.program.as_deref();
        own.filter(|own| *own == upgrade::previous(&self.installed))
    }

    fn version(&self, machine: &Machine, report: &mut Report) -> io::Result<()> {
        let path = self.installed.display();
        let answer = match self.stranger_may_write() {
            Some(why) => Err(why),
            None => version(&self.installed, machine)?,
        };
        let installed = match (answer, self.previous()) {
            (Ok(version), _) => version,
            (Err(why), None) => {
                report.fail("version", format!("{path}: {why}"), self.own_command("install"));
                return Ok(());
            }
            (Err(why), Some(own)) => {
                let seen = format!(
                    "{path}: {why}; this doctor is the version before it, {}",
                    crate::host::version::VERSION
                );
                report.fail("version", seen, format!("sudo {} install", own.display()));
                return Ok(());
            }
        };
        let Some(agent) = &self.agent else {
            report.pass("version", format!("{path} is {installed}; not running"));
            return Ok(());
        };
        // The running file is not asked: it could be any program.
        if agent.program.is_none() {
            let seen =
                format!("{path} is {installed}; only root can see which file the agent runs");
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

/// Whether the service's variables are in a file that this user can't read.
pub fn env_file_is_closed() -> bool {
    let denied = |error: io::Error| error.kind() == ErrorKind::PermissionDenied;
    config::env_file_text().is_err_and(denied)
}

fn sudo(words: init::Command) -> String {
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "--quiet").collect();
    format!("sudo {}", words.join(" "))
}

/// How the agent has ended last, where it ended with an error.
fn last_exit(state: &State) -> String {
    match state.last_exit {
        None => String::new(),
        Some(78) => " (last exit status 78: invalid configuration)".to_owned(),
        Some(status) => format!(" (last exit status {status})"),
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
