//! `vmkit-agent install` and `uninstall`: puts this very program on the machine as a service, and
//! takes it away again.
//!
//! First everything is looked at and the steps are decided on, then they are printed or carried
//! out; so a dry run can't tell anything but the truth, and where nothing has changed there are no
//! steps. The running service is not touched before the copy has run and the configuration has
//! been checked.

mod options;
mod settings;
mod step;
mod watch;

use crate::host::paths;
use crate::host::paths::PROGRAM;
use crate::run::command;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::config::{self, ENV_FILE};
use crate::host::files::{self, Lock};
use crate::host::init::{self, Definition, Init};
use crate::host::process::{self, Process};
use crate::host::timestamp::Timestamp;
use crate::host::version;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade::store::Store;
use crate::upgrade::{self, swap};

use options::{Install, Uninstall};
use settings::Settings;
use step::Step;
use watch::Watch;

/// How long the service may take to be up: whatever it comes after, such as docker, comes first.
const START: Duration = Duration::from_secs(120);
/// The kernel's times of a start are this inexact, in seconds.
const SLACK: i64 = 2;
/// The file, in the folder of the upgrade state, that an installation locks.
const LOCK: &str = "install.lock";
/// How long the agent may take to be acknowledged by the gateway.
const REGISTERED: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub enum Error {
    /// The arguments are wrong.
    Usage(String),
    /// The agent could not be started with these values.
    Config(config::Error),
    Failed(String),
}

/// # Errors
/// In one line, what is not as it was asked for, and what to do. Unless the last step has failed,
/// that nothing was changed.
pub fn install(arguments: &[&str]) -> Result<(), Error> {
    let options = Install::parse(arguments).map_err(Error::Usage)?;
    require_root("install", options.dry_run)?;
    let waiter = Waiter::new().map_err(|error| Error::Failed(error.to_string()))?;
    let children = Children::new(Rc::clone(&waiter), Vec::new());
    // What is made on the way to a file is for everyone to pass through.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _alone = (!options.dry_run).then(Alone::take).transpose()?;
    let init = Init::find();
    let settings = Settings::decide(&options, has_credential(init, &children), &waiter)?;
    let state = init.state(&children).map_err(Error::Failed)?;
    if state.masked {
        let problem = "the service is masked, so it can't be started; systemctl unmask vmkit-agent";
        return Err(Error::Failed(problem.to_owned()));
    }
    let mut steps = program_steps()?;
    steps.extend(settings.steps());
    let definition = init.definition().filter(|definition| !is_defined(definition));
    steps.extend(definition.map(Step::Define));
    if definition.is_some() || state.stale {
        steps.extend(init.reload().map(Step::Run));
    }
    // For all of these the agent has to be started anew.
    let changes = !steps.is_empty();
    if !state.enabled {
        steps.extend(init.enable().map(Step::Run));
    }
    let agents = agents(&state);
    let start = match state.active {
        true if changes || state.unsettled || is_outdated(init, &agents) => init.restart(),
        true => None,
        false => {
            // What has lost its supervisor still counts as started.
            let is_known = init.definition().is_some_and(|own| Path::new(own.path).exists());
            steps.extend(init.forget().filter(|_| is_known && !options.no_start).map(Step::Run));
            init.start()
        }
    };
    take(&steps, options.dry_run, &children)?;
    if options.no_start || init == Init::None {
        let command = if state.active { init.restart() } else { init.start() };
        say(&how_to_start(command, &settings));
        return Ok(());
    }
    let Some(command) = start else {
        say(&format!("{} is installed and runs; nothing is restarted", version::line()));
        return Ok(());
    };
    if options.dry_run {
        say(&format!("would {}", Step::Run(command)));
        say(&format!("would wait up to {} s until it is registered", REGISTERED.as_secs()));
        return Ok(());
    }
    say(&Step::Run(command).to_string());
    let mut watch = Watch::new(init, &children);
    if let Err(problem) = command::run(command, START, &children) {
        watch.show_log();
        return Err(Error::Failed(format!("{problem}; see the log: {}", init.log_command())));
    }
    if !state.active {
        // Started by hand, or left behind by a supervisor: there is another now.
        let agents: Vec<_> = agents.into_iter().map(|agent| agent.identity).collect();
        process::end(&agents);
    }
    say(&watch.until_registered(&waiter, REGISTERED)?);
    Ok(())
}

/// # Errors
/// What is left, and why.
pub fn uninstall(arguments: &[&str]) -> Result<(), Error> {
    let options = Uninstall::parse(arguments).map_err(Error::Usage)?;
    require_root("uninstall", options.dry_run)?;
    let waiter = Waiter::new().map_err(|error| Error::Failed(error.to_string()))?;
    let children = Children::new(waiter, Vec::new());
    let init = Init::find();
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let mut steps = Vec::new();
    // Also what was left for an init system that does not run now.
    let services = [Init::Systemd, Init::OpenRc].into_iter().filter_map(Init::definition);
    let defined: Vec<_> = services.filter(|service| is_there(Path::new(service.path))).collect();
    if init.definition().is_some_and(|own| defined.contains(&own)) {
        steps.extend(init.end().map(Step::Run));
    } else if init.state(&children).is_ok_and(|state| state.active) {
        steps.extend(init.stop().map(Step::Run));
    }
    let program = Path::new(PROGRAM);
    let leftovers = upgrade::leftovers(program);
    let trial = Store::look(program).and_then(|(_, state)| state.ok()?.trial);
    if trial.is_some() || leftovers.iter().any(|path| path.starts_with("/etc") && is_there(path)) {
        steps.extend(upgrade::stop_command().map(Step::Try));
    }
    // Started by hand, as is usual without a service, or left to watch over an upgrade.
    let programs: Vec<PathBuf> = [program.to_owned(), upgrade::previous(program)].into();
    if !Process::running(&programs).is_empty() {
        steps.push(Step::End(programs));
    }
    let mut paths: Vec<PathBuf> = defined.iter().map(|service| service.path.into()).collect();
    paths.extend([Init::Systemd, Init::OpenRc].into_iter().flat_map(Init::links));
    paths.push(program.to_owned());
    paths.extend(leftovers);
    paths.extend(defined.iter().map(|service| step::unfinished(Path::new(service.path))));
    paths.push(lock_path());
    if options.purge {
        paths.extend([ENV_FILE.into(), step::unfinished(Path::new(ENV_FILE))]);
        paths.push(watch::OWN_LOG.into());
        paths.extend(upgrade::memories(program));
    }
    steps.extend(paths.into_iter().filter(|path| is_there(path)).map(Step::Remove));
    let folder = Path::new(ENV_FILE).parent().unwrap_or(Path::new("/"));
    if options.purge && is_there(folder) {
        steps.push(Step::RemoveIfEmpty(folder.to_owned()));
    }
    if !options.purge && is_there(Path::new(paths::STATE)) {
        steps.push(Step::RemoveIfEmpty(paths::STATE.into()));
    }
    let units = Path::new("/etc/systemd");
    if steps.iter().any(|step| matches!(step, Step::Remove(path) if path.starts_with(units))) {
        steps.extend(init.reload().map(Step::Run));
    }
    if steps.is_empty() {
        say("nothing to do: nothing of vmkit-agent is there");
        return Ok(());
    }
    take(&steps, options.dry_run, &children)?;
    if !options.purge && is_there(Path::new(ENV_FILE)) {
        say(&format!("{ENV_FILE} is kept, with the token; --purge removes it too"));
    }
    Ok(())
}

/// What brings the program to its place, where it is not there already.
fn program_steps() -> Result<Vec<Step>, Error> {
    let failed = |what: &str, error: io::Error| Error::Failed(format!("can't {what}: {error}"));
    let mut own = File::open("/proc/self/exe")
        .map_err(|error| failed("read this program by /proc/self/exe", error))?;
    let checksum =
        swap::digest(&mut own, |_| Ok(())).map_err(|error| failed("read this program", error))?;
    let program = Path::new(PROGRAM);
    let there = match fs::symlink_metadata(program) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(vec![Step::Copy { checksum }]);
        }
        Err(error) => return Err(failed(&format!("look at {PROGRAM}"), error)),
    };
    if there.is_dir() {
        return Err(Error::Failed(format!("{PROGRAM} is a folder; remove it")));
    }
    let as_it_should_be = there.is_file()
        && (there.uid(), there.gid(), there.mode() & 0o7777) == (0, 0, 0o755)
        && swap::checksum(program).is_ok_and(|there| there == checksum);
    Ok(if as_it_should_be { Vec::new() } else { vec![Step::Copy { checksum }] })
}

fn is_defined(definition: &Definition) -> bool {
    // A link to a file somewhere else is as good.
    let there = fs::metadata(definition.path).is_ok_and(|there| {
        there.is_file() && there.uid() == 0 && there.mode() & 0o7777 == definition.mode
    });
    there && fs::read(definition.path).is_ok_and(|text| text == definition.text.as_bytes())
}

/// The agents that run: the service's, as the init system has it, and any started by hand.
fn agents(state: &init::State) -> Vec<Process> {
    let mut agents = Process::agents(Path::new(PROGRAM));
    let known = state.pid.and_then(Process::find);
    agents.retain(|agent| known.as_ref().is_none_or(|known| known.pid() != agent.pid()));
    agents.extend(known);
    agents
}

/// Whether one of these was started from another file than the one that is installed, or before
/// its settings were written: an installation was cut short, or has left that to somebody.
fn is_outdated(init: Init, running: &[Process]) -> bool {
    let written = |path| fs::metadata(path).map_or(0, |file| file.mtime());
    let definition = init.definition().map_or(0, |definition| written(definition.path));
    let written = definition.max(written(ENV_FILE));
    // By a clock that was put back since, it says nothing.
    let written = if written > Timestamp::now().unix() { 0 } else { written };
    running.iter().any(|agent| {
        let started = agent.identity.started_at();
        !agent.runs_file(Path::new(PROGRAM))
            || started.is_some_and(|started| started + SLACK < written)
    })
}

/// Whether the service gets its token from systemd.
fn has_credential(init: Init, children: &Rc<Children>) -> bool {
    let cat = ["systemctl", "cat", "vmkit-agent"];
    let unit = (init == Init::Systemd).then(|| command::run(&cat, START, children));
    let is_one = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        name.trim_end().contains("Credential")
            && !name.starts_with(['#', ';'])
            && value.trim_start().starts_with("vmkit-agent-token")
    };
    unit.is_some_and(|unit| unit.unwrap_or_default().lines().any(is_one))
}

/// Carries the steps out, or says what they would be.
fn take(steps: &[Step], dry_run: bool, children: &Rc<Children>) -> Result<(), Error> {
    for step in steps {
        if dry_run {
            say(&format!("would {step}"));
        } else {
            say(&step.to_string());
            step.carry_out(children).map_err(Error::Failed)?;
        }
    }
    Ok(())
}

fn how_to_start(command: Option<init::Command>, settings: &Settings) -> String {
    let how = match command {
        Some(command) => command.join(" "),
        None => format!(
            "{PROGRAM} (nothing here starts it at boot: neither systemd nor OpenRC; it reads \
             {ENV_FILE} and logs to syslog or standard error)"
        ),
    };
    match settings.has_token() {
        true => format!("to run it: {how}"),
        false => format!("to run it: write VMKIT_AGENT_TOKEN to {ENV_FILE}, then {how}"),
    }
}

/// The right to install, of which there is one. Its file is in a folder that is root's alone, and
/// goes with it.
struct Alone(Option<Lock>);

impl Alone {
    fn take() -> Result<Alone, Error> {
        let path = lock_path();
        let folder = files::private_folder(Path::new(paths::STATE));
        match folder.and_then(|()| Lock::take(&path, Duration::ZERO)) {
            Ok(Some(lock)) => Ok(Alone(Some(lock))),
            Ok(None) => {
                let problem = "another installation is under way; wait until it has ended";
                Err(Error::Failed(problem.to_owned()))
            }
            Err(error) => Err(Error::Failed(format!("can't lock {}: {error}", path.display()))),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.remove(&lock_path());
        }
        // Nothing but the lock may have been in it.
        let _ = fs::remove_dir(paths::STATE);
    }
}

fn lock_path() -> PathBuf {
    Path::new(paths::STATE).join(LOCK)
}

fn require_root(command: &str, dry_run: bool) -> Result<(), Error> {
    match dry_run || rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::Failed(format!(
            "{command}: only root can; run it again with sudo, or with --dry-run to see what it does"
        ))),
    }
}

/// Tells the operator what is going on. Where nobody listens any more, that is no reason to stop
/// half-way.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Usage(problem) | Error::Failed(problem) => f.write_str(problem),
            Error::Config(error) => error.fmt(f),
        }
    }
}
