//! `vmkit-agent uninstall`: takes the service and the program off the machine.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::alone::{lock_path, require_root};
use super::error::Error;
use super::manual;
use super::options::Uninstall;
use super::step::{self, Step, take};
use super::watch;
use crate::config::ENV_FILE;
use crate::host::init::{Definition, Init};
use crate::host::paths::{self, PROGRAM};
use crate::host::process::Process;
use crate::operator::output::say;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade;
use crate::upgrade::store::Store;

/// Removes the service and the program, and with `--purge` the configuration and the state.
///
/// # Errors
/// One line: what could not be removed, and why.
pub fn uninstall(options: &Uninstall) -> Result<(), Error> {
    require_root("uninstall", options.dry_run)?;
    let waiter = Waiter::new().map_err(|error| Error::Failed(error.to_string()))?;
    let children = Children::new(waiter, Vec::new());
    let init = Init::find();
    let defined = defined();
    let mut steps = stops(init, &defined, &children);
    steps.extend(removals(&defined, options.purge));
    let units = Path::new("/etc/systemd");
    if steps.iter().any(|step| matches!(step, Step::Remove(path) if path.starts_with(units))) {
        steps.extend(init.reload().map(Step::Run));
    }
    if steps.is_empty() {
        say("nothing to do: vmkit-agent is not installed");
        return Ok(());
    }
    take(&steps, options.dry_run, &children)?;
    if !options.purge && is_there(Path::new(ENV_FILE)) {
        say(&format!("kept {ENV_FILE}, with the token; --purge removes it too"));
    }
    Ok(())
}

/// The definitions of the service that are there, also those for an init system that does not run.
fn defined() -> Vec<Definition> {
    let all = [Init::Systemd, Init::OpenRc].into_iter().filter_map(Init::definition);
    all.filter(|definition| is_there(Path::new(definition.path))).collect()
}

/// The steps that stop the agent, and the timers and processes that watch over an upgrade.
fn stops(init: Init, defined: &[Definition], children: &Rc<Children>) -> Vec<Step> {
    let mut steps = Vec::new();
    if init.definition().is_some_and(|own| defined.contains(&own)) {
        steps.extend(init.end().map(Step::Run));
    } else if init.state(children).is_ok_and(|state| state.active) {
        steps.extend(init.stop().map(Step::Run));
    }
    let program = Path::new(PROGRAM);
    let trial = Store::look(program).and_then(|(_, state)| state.ok()?.trial);
    let mut leftovers = upgrade::leftovers(program).into_iter();
    if trial.is_some() || leftovers.any(|path| path.starts_with("/etc") && is_there(&path)) {
        steps.extend(upgrade::stop_command().map(Step::Try));
    }
    // An agent that was started by hand, or the guard of an upgrade.
    let programs: Vec<PathBuf> = [program.to_owned(), upgrade::previous(program)].into();
    if !Process::running(&programs).is_empty() {
        steps.push(Step::End(programs));
    }
    steps
}

/// The steps that remove all files that are there, and folders that are then empty.
fn removals(defined: &[Definition], purge: bool) -> Vec<Step> {
    let program = Path::new(PROGRAM);
    let mut paths: Vec<PathBuf> = defined.iter().map(|service| service.path.into()).collect();
    paths.extend([Init::Systemd, Init::OpenRc].into_iter().flat_map(Init::links));
    paths.push(program.to_owned());
    paths.extend(upgrade::leftovers(program));
    paths.extend(defined.iter().map(|service| step::unfinished(Path::new(service.path))));
    let manual = Path::new(manual::PAGE.path);
    paths.extend([manual.to_owned(), step::unfinished(manual), lock_path()]);
    if purge {
        paths.extend([ENV_FILE.into(), step::unfinished(Path::new(ENV_FILE))]);
        paths.push(watch::OWN_LOG.into());
        paths.extend(upgrade::memories(program));
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    if is_there(manual) {
        folders.extend(manual::folders());
    }
    folders.push(match purge {
        true => Path::new(ENV_FILE).parent().unwrap_or(Path::new("/")).to_owned(),
        false => paths::STATE.into(),
    });
    let files = paths.into_iter().filter(|path| is_there(path)).map(Step::Remove);
    let folders = folders.into_iter().filter(|path| is_there(path)).map(Step::RemoveIfEmpty);
    files.chain(folders).collect()
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
