//! `vmkit-agent uninstall`: takes the service and the program off the machine.

use std::path::{Path, PathBuf};

use super::alone::{lock_path, require_root};
use super::error::Error;
use super::options::Uninstall;
use super::step::{Step, take};
use super::{step, watch};
use crate::config::ENV_FILE;
use crate::host::init::Init;
use crate::host::paths::{self, PROGRAM};
use crate::host::process::Process;
use crate::operator::output::say;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade;
use crate::upgrade::store::Store;

/// # Errors
/// What is left, and why.
pub fn uninstall(options: &Uninstall) -> Result<(), Error> {
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
