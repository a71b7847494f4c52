//! From a request to the swapped binary, one step after the other: for the agent, which reads the
//! output, and for a person.
//!
//! Until the swap every way out leaves everything as it was. After the swap, the restart is left.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::Client;
use super::fetch;
use super::reporter::Reporter;
use super::signature::{self, Signed};
use super::swap::{self, Staged};
use crate::config::UpgradeConfig;
use crate::host::init::Init;
use crate::host::process::Identity;
use crate::host::restart::{self, Restart};
use crate::host::version;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade::error::Error;
use crate::upgrade::guard;
use crate::upgrade::leftovers;
use crate::upgrade::paths;
use crate::upgrade::report::Milestone;
use crate::upgrade::request::Request;
use crate::upgrade::state::Trial;
use crate::upgrade::store::Store;

/// The variable that has the request, in JSON. Every user of the machine can read arguments, and
/// the URL may hold a password.
pub const REQUEST: &str = "VMKIT_UPGRADE_REQUEST";

/// The agent's upgrader, `vmkit-agent upgrade --supervised`: writes
/// [`crate::upgrade::report::Line`]s. True once the new binary is in place.
pub fn supervised() -> bool {
    let Ok(reporter) = Reporter::new(true) else { return false };
    let request = std::env::var(REQUEST).map_err(|error| error.to_string());
    let request =
        request.and_then(|json| serde_json::from_str(&json).map_err(|error| error.to_string()));
    let config = UpgradeConfig::inherited().map_err(|error| error.to_string());
    let outcome = match (request, config) {
        (Ok(request), Ok(config)) => upgrade(&request, &config, &reporter, Some(parent())),
        (Err(error), _) | (_, Err(error)) => {
            Err(Error::internal(format!("the upgrader can't start: {error}")))
        }
    };
    outcome.map_err(|error| reporter.failed(error)).is_ok()
}

/// A person's upgrade. What the person has to know at its end.
///
/// # Errors
/// Why everything is as it was.
pub fn by_hand(request: &Request, config: &UpgradeConfig) -> Result<String, Error> {
    let reporter = Reporter::new(false).map_err(Error::internal)?;
    let done = upgrade(request, config, &reporter, None)?;
    let warning = format!(
        "version {} will be rolled back unless the gateway accepts it within {} s",
        request.version,
        config.probation.as_secs()
    );
    let Some(command) = &done.restart else {
        return Ok(format!("restart the agent now; {warning}"));
    };
    Ok(match guard::run(command, &done.children) {
        Ok(()) => format!("restarting; {warning}"),
        Err(error) => {
            let advice = Init::find()
                .restart()
                .map_or(String::new(), |words| format!(", for example: sudo {}", words.join(" ")));
            format!("can't restart the service: {error}; restart it now{advice}; {warning}")
        }
    })
}

/// An upgrade up to the swap.
struct Done {
    /// What restarts the service; none where no command does.
    restart: Option<Vec<String>>,
    children: Rc<Children>,
}

/// `agent` is the pid of the agent that has started this process.
fn upgrade(
    request: &Request,
    config: &UpgradeConfig,
    reporter: &Arc<Reporter>,
    agent: Option<u32>,
) -> Result<Done, Error> {
    let installed = paths::installed()?;
    let store = Store::open(&installed);
    let waiter = Waiter::new().map_err(Error::internal)?;
    let children = Children::new(waiter, Vec::new());
    let _lock = store.lock_upgrade()?;
    may_start(&installed, &store)?;
    if let Some(banned) = banned(request, &store) {
        // The owner of the machine outranks the ban.
        match agent {
            Some(_) => return Err(Error::unfit(banned)),
            None => reporter.note(format!("warning: {banned}"))?,
        }
    }
    swap::check_folder(&installed)?;
    // An upgrader that was killed may have ended only after the agent's start had cleaned up.
    if let Some(version) = store.read().unfinished {
        leftovers::clean(&store, &installed, &version);
    }
    let restart = restart(config, agent, &children);
    // A person's upgrade restarts the installed unit, unless a command of the operator's does.
    let is_installed = agent.is_none() && restart.is_some() && config.restart_command.is_none();
    let installed_unit = || guard::installed_unit().filter(|_| is_installed);
    let unit = restart::own_unit().or_else(installed_unit);

    // Noted before there is anything to clean up.
    let version = request.version.clone();
    store.change_or_fail(|state| state.unfinished = Some(version))?;
    let outcome = bring_in(request, config, &store, reporter, &children).and_then(|staged| {
        let (version, agent) = (request.version.clone(), agent.and_then(Identity::of));
        let mut trial = Trial::new(version, request.checksum, &installed, config.probation, agent);
        trial.restart.clone_from(&restart);
        trial.unit = unit.clone();
        exchange(staged, trial, &store, reporter, &children)
    });
    if outcome.is_err() {
        let _ = store.change(|state| state.unfinished = None);
    }
    // A signal or a lost listener may show as a failure of some other kind.
    outcome.map_err(|error| reporter.reason_to_stop().unwrap_or(error))?;
    Ok(Done { restart, children })
}

/// What restarts the service. A person's shell has none of the variables that tell, so the init
/// system is asked.
fn restart(
    config: &UpgradeConfig,
    agent: Option<u32>,
    children: &Rc<Children>,
) -> Option<Vec<String>> {
    if let Some(command) = Restart::find(config.restart_command.as_deref()).command() {
        return Some(command.to_vec());
    }
    let mut inits = [Init::Systemd, Init::OpenRc].into_iter().filter(|_| agent.is_none());
    let is_active = |init: &Init| {
        restart::is_active(*init).is_some_and(|question| guard::run(question, children).is_ok())
    };
    inits.find(is_active).and_then(restart::command)
}

fn may_start(installed: &Path, store: &Store) -> Result<(), Error> {
    let state = match store.load() {
        Ok(state) => state,
        // Its guard rolls back a trial that can't be read, unless the file is replaced by then.
        Err(error) if store.is_watched() => {
            let path = store.path().display();
            return Err(Error::busy(format!(
                "busy: {path}: {error}; the guard of a trial rolls it back; ask again later"
            )));
        }
        Err(_) => store.read(),
    };
    // A trial of another agent, which shares the folder, is no reason to wait.
    if let Some(trial) = state.trial.filter(|trial| trial.installed == installed) {
        return Err(Error::busy(format!(
            "busy: version {} is on trial until the gateway accepts it; ask again in {} s",
            trial.version, trial.probation
        )));
    }
    Ok(())
}

/// Why the binary that is asked for is banned, if it is.
fn banned(request: &Request, store: &Store) -> Option<String> {
    let rolled_back = store.read().rolled_back;
    let mut banned = rolled_back.iter().filter(|before| before.banned);
    let banned = banned.find(|before| before.checksum == request.checksum)?;
    Some(banned.in_words())
}

/// From the URL to a binary beside the installed one, with the right checksum and version.
fn bring_in(
    request: &Request,
    config: &UpgradeConfig,
    store: &Store,
    reporter: &Arc<Reporter>,
    children: &Rc<Children>,
) -> Result<Staged, Error> {
    let installed = paths::installed()?;
    let client = Client::new(config, reporter);
    let places = paths::download_paths(store.folder(), &request.version);
    let mut download = fetch::download(&client, request, &places, reporter)?;
    let (bytes, seconds) = (download.bytes, download.took.as_secs_f64());
    reporter.done(Milestone::Download, format!("downloaded {bytes} bytes in {seconds:.1} s"))?;
    if download.checksum != request.checksum {
        return Err(Error::mismatch(format!(
            "checksum mismatch: what is at {} does not have the SHA-256 {}; nothing was changed, \
             check the release",
            request.url, request.checksum
        )));
    }
    let mut verified = "verified the checksum".to_owned();
    if let Some(key) = &config.release_key {
        let signature = fetch::signature_of(&client, &request.url, key, reporter)?;
        let signed = Signed { url: request.url.signature(), version: &request.version };
        let replaces = signed.verify(&mut download.file, &signature, key)?;
        if reporter.is_supervised() {
            signature::check_floor(&request.version, version::VERSION, replaces.as_deref())?;
        }
        verified.push_str(" and the signature");
    }
    reporter.done(Milestone::Verify, verified)?;
    let staged = Staged::copy(&mut download.file, &request.checksum, &installed)?;
    drop(download);
    staged.test(&request.version, children)?;
    reporter.done(Milestone::Test, format!("tested: --version says {}", request.version))?;
    Ok(staged)
}

/// From a staged binary to an installed one on trial. A guard watches before the swap.
fn exchange(
    staged: Staged,
    trial: Trial,
    store: &Store,
    reporter: &Reporter,
    children: &Rc<Children>,
) -> Result<(), Error> {
    // Kept before the trial is noted: a trial that fails ends with this file.
    swap::keep_previous(&trial.installed)?;
    let remembered = trial.clone();
    store.change_or_fail(|state| {
        state.unfinished = None;
        state.trial = Some(remembered);
    })?;
    let Trial { version, probation, .. } = &trial;
    let armed = guard::arm(&trial, store, Duration::from_secs(*probation), children);
    let exchanged = armed
        .map_err(|error| {
            let what = "the guard that would roll back the new version can't be started";
            Error::not_replaced(format!("{what}: {error}"))
        })
        .and_then(|()| {
            let text = format!(
                "previous version kept; rolls back automatically in {probation} s unless the \
                 gateway accepts {version}"
            );
            // The last moment at which the agent's death stops the upgrade.
            reporter.done(Milestone::Guard, text)?;
            staged.install()
        });
    if exchanged.is_err() {
        let _ = store.change(|state| state.trial = None);
        guard::call_off_now(children);
    } else {
        // The swap is done, whether or not somebody still listens.
        let _ = reporter.done(Milestone::Swap, format!("swapped: version {version} is installed"));
    }
    exchanged
}

fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}
