//! `vmkit-agent install`: puts this very program on the machine as a service.
//!
//! First everything is looked at and the steps are decided on. Then they are carried out, or
//! printed where it is a dry run; so a dry run prints the steps that an installation would carry
//! out. Where nothing has changed there are no steps. The running service is not touched before
//! the copy has run and the configuration has been checked.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::alone::{Alone, require_root};
use super::error::Error;
use super::found::{agents, has_credential, is_defined, is_outdated, program_steps};
use super::options::Install;
use super::settings::Settings;
use super::step::{Step, take};
use super::watch::Watch;
use crate::config::ENV_FILE;
use crate::host::init::{self, Init};
use crate::host::paths::PROGRAM;
use crate::host::{process, version};
use crate::operator::output::say;
use crate::run::command;
use crate::run::job::Children;
use crate::run::wait::Waiter;

/// How long the service may take to be up: whatever it comes after, such as docker, comes first.
const START: Duration = Duration::from_secs(120);
/// How long the agent may take to be acknowledged by the gateway.
const REGISTERED: Duration = Duration::from_secs(20);

/// # Errors
/// In one line, what is not as it was asked for, and what to do. Unless the last step has failed,
/// that nothing was changed.
pub fn install(options: &Install) -> Result<(), Error> {
    require_root("install", options.dry_run)?;
    let waiter = Waiter::new().map_err(|error| Error::Failed(error.to_string()))?;
    let children = Children::new(Rc::clone(&waiter), Vec::new());
    // What is made on the way to a file is for everyone to pass through.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _alone = (!options.dry_run).then(Alone::take).transpose()?;
    let init = Init::find();
    let settings = Settings::decide(options, has_credential(init, &children), &waiter)?;
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
