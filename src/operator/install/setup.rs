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
use super::found::{agents, has_credential, is_outdated, is_written, program_steps};
use super::manual;
use super::options::Install;
use super::settings::Settings;
use super::step::{Step, take};
use super::watch::Watch;
use crate::config::ENV_FILE;
use crate::host::init::{self, Init};
use crate::host::paths::PROGRAM;
use crate::host::process::{self, Process};
use crate::host::version;
use crate::operator::output::say;
use crate::run::command;
use crate::run::job::Children;
use crate::run::wait::Waiter;

/// How long the start of the service may take. It includes the services that come first, such as
/// docker.
const START: Duration = Duration::from_secs(120);
/// How long the gateway may take to accept the agent.
const REGISTERED: Duration = Duration::from_secs(20);

/// All that an installation does.
struct Plan {
    /// Carried out in this order, before the agent is started.
    steps: Vec<Step>,
    /// What starts or restarts the agent; none where the agent runs and nothing has changed.
    start: Option<init::Command>,
    /// The agents that run now.
    agents: Vec<Process>,
    was_active: bool,
}

/// Installs this program as `options` say.
///
/// # Errors
/// One line: what is wrong and what to do. Unless the last step has failed, nothing was changed.
pub fn install(options: &Install) -> Result<(), Error> {
    require_root("install", options.dry_run)?;
    let waiter = Waiter::new().map_err(|error| Error::Failed(error.to_string()))?;
    let children = Children::new(Rc::clone(&waiter), Vec::new());
    // New folders can be read by all users, whatever the shell's umask is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _alone = (!options.dry_run).then(Alone::take).transpose()?;
    let init = Init::find();
    let settings = Settings::decide(options, has_credential(init, &children), &waiter)?;
    let plan = Plan::make(init, &settings, options, &children)?;
    take(&plan.steps, options.dry_run, &children)?;
    if options.no_start || init == Init::None {
        let command = if plan.was_active { init.restart() } else { init.start() };
        say(&how_to_start(command, &settings));
        return Ok(());
    }
    let Some(command) = plan.start else {
        say(&format!("{}: already installed and running; not restarted", version::line()));
        return Ok(());
    };
    let start = Step::Run(command);
    if options.dry_run {
        say(&start.planned());
        let seconds = REGISTERED.as_secs();
        say(&format!("would wait up to {seconds} s for the gateway to accept the agent"));
        return Ok(());
    }
    let mut watch = Watch::new(init, &children);
    if let Err(problem) = command::run(command, START, &children) {
        watch.show_log();
        let log = init.log_command();
        return Err(Error::Failed(format!("{problem}; see the log: sudo {log}")));
    }
    say(&start.done());
    if !plan.was_active {
        // These were started by hand, or their supervisor is gone. The service has taken over.
        let agents: Vec<_> = plan.agents.into_iter().map(|agent| agent.identity).collect();
        process::end(&agents);
    }
    say(&watch.until_registered(&waiter, REGISTERED)?);
    Ok(())
}

impl Plan {
    /// # Errors
    /// That the service must not be started, or that something can't be looked at.
    fn make(
        init: Init,
        settings: &Settings,
        options: &Install,
        children: &Rc<Children>,
    ) -> Result<Plan, Error> {
        let state = init.state(children).map_err(Error::Failed)?;
        if state.masked {
            return Err(Error::Failed(
                "the service is masked, so it can't be started; run: sudo systemctl unmask \
                 vmkit-agent"
                    .to_owned(),
            ));
        }
        let mut steps = program_steps()?;
        steps.extend(settings.steps());
        let definition = init.definition().filter(|definition| !is_written(definition));
        steps.extend(definition.map(Step::Define));
        if definition.is_some() || state.stale {
            steps.extend(init.reload().map(Step::Run));
        }
        // Each of these steps needs a restart of the agent, those that follow do not.
        let changes = !steps.is_empty();
        steps.extend(Some(manual::PAGE).filter(|page| !is_written(page)).map(Step::Manual));
        if !state.enabled {
            steps.extend(init.enable().map(Step::Run));
        }
        let agents = agents(&state);
        let start = match state.active {
            true if changes || state.unsettled || is_outdated(init, &agents) => init.restart(),
            true => None,
            false => {
                // To OpenRC a service that has lost its supervisor still counts as started.
                let is_known = init.definition().is_some_and(|own| Path::new(own.path).exists());
                let forget = init.forget().filter(|_| is_known && !options.no_start);
                steps.extend(forget.map(Step::Run));
                init.start()
            }
        };
        Ok(Plan { steps, start, agents, was_active: state.active })
    }
}

fn how_to_start(command: Option<init::Command>, settings: &Settings) -> String {
    let how = match command {
        Some(command) => format!("sudo {}", command.join(" ")),
        None => format!(
            "sudo {PROGRAM} (neither systemd nor OpenRC is here, so nothing starts it at boot; it \
             reads {ENV_FILE} and logs to syslog or standard error)"
        ),
    };
    match settings.has_token() {
        true => format!("to run it: {how}"),
        false => format!("to run it: write VMKIT_AGENT_TOKEN to {ENV_FILE}, then {how}"),
    }
}
