//! The upgrader: from a request to the swapped binary, one step after the other. The same program
//! for the agent, which watches its output, and for a person.
//!
//! Until the swap every way out leaves all as it was; after it, what remains is the restart.

use crate::host::files;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect;
use super::fetch;
use super::reporter::Story;
use super::signature::{self, Signed};
use super::swap::{self, Staged};
use crate::config::UpgradeConfig;
use crate::host::process::Identity;
use crate::host::restart::Restart;
use crate::host::version;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade::error::Error;
use crate::upgrade::guard;
use crate::upgrade::paths::{download_paths, installed};
use crate::upgrade::probation;
use crate::upgrade::report::Stage as Step;
use crate::upgrade::request::Request;
use crate::upgrade::state::{State, Trial};
use crate::upgrade::store::Store;
use crate::wire::rpc;

/// The variable that has the request, in JSON. Not an argument, which everybody on the machine can
/// read: the URL may hold a password.
pub const REQUEST: &str = "VMKIT_UPGRADE_REQUEST";

/// The agent's upgrader, `vmkit-agent upgrade --supervised`: tells its story in
/// [`crate::upgrade::report::Line`]s. True once the new binary is in place.
pub fn supervised() -> bool {
    let Ok(story) = Story::new(true) else { return false };
    let request = std::env::var(REQUEST).map_err(|error| error.to_string());
    let request =
        request.and_then(|json| serde_json::from_str(&json).map_err(|error| error.to_string()));
    let config = UpgradeConfig::inherited().map_err(|error| error.to_string());
    let outcome = match (request, config) {
        (Ok(request), Ok(config)) => upgrade(&request, &config, &story, Some(parent())).map(drop),
        (Err(error), _) | (_, Err(error)) => {
            Err(Error::new(rpc::INTERNAL_ERROR, format!("the upgrader can't start: {error}")))
        }
    };
    outcome.inspect_err(|error| story.failed(error)).is_ok()
}

/// A person's upgrade. What is left for that person to do.
///
/// # Errors
/// Why everything is as it was.
pub fn by_hand(request: &Request, config: &UpgradeConfig) -> Result<String, Error> {
    let story =
        Story::new(false).map_err(|error| Error::new(rpc::INTERNAL_ERROR, error.to_string()))?;
    let done = upgrade(request, config, &story, None)?;
    let probation = config.probation.as_secs();
    let Some(command) = &done.restart else {
        return Ok(format!(
            "restart the agent now: version {} is rolled back unless the gateway acknowledges its \
             register within {probation} s",
            request.version
        ));
    };
    let shown = command.join(" ");
    match guard::run(command, &done.children) {
        Ok(()) => Ok(format!(
            "restarted with {shown:?}; version {} is rolled back unless the gateway acknowledges \
             its register within {probation} s",
            request.version
        )),
        Err(error) => Ok(format!("can't restart the service: {error}; run {shown:?}")),
    }
}

/// What an upgrade leaves behind.
struct Done {
    /// What restarts the service, where it is a command.
    restart: Option<Vec<String>>,
    children: Rc<Children>,
}

fn upgrade(
    request: &Request,
    config: &UpgradeConfig,
    story: &Arc<Story>,
    agent: Option<u32>,
) -> Result<Done, Error> {
    let installed = installed()?;
    let store = Store::open(&installed);
    let internal = |error: std::io::Error| Error::new(rpc::INTERNAL_ERROR, error.to_string());
    let children = Children::new(Waiter::new().map_err(internal)?, Vec::new());
    let _lock = store.lock_upgrade()?;
    may_start(request, &installed, &store)?;
    swap::check_folder(&installed)?;
    // Of one that was cut short, and took its time to die when the agent started.
    if let Some(version) = store.read().unfinished {
        probation::clean(&store, &installed, &version);
    }
    let restart = restart(config, agent, &children);

    // Before there is anything to clean up, the note on what will have to be.
    let version = request.version.clone();
    change(&store, |state| state.unfinished = Some(version))?;
    let outcome = bring_in(request, config, &store, story, &children).and_then(|staged| {
        let (version, agent) = (request.version.clone(), agent.and_then(Identity::of));
        let mut trial = Trial::new(version, request.checksum, &installed, config.probation, agent);
        trial.restart.clone_from(&restart);
        exchange(staged, trial, &store, story, &children)
    });
    if outcome.is_err() {
        let _ = store.change(|state| state.unfinished = None);
    }
    // Whatever else a lost listener or a signal has led to, this is the reason.
    outcome.map_err(|error| story.over().unwrap_or(error))?;
    Ok(Done { restart, children })
}

/// What restarts the service. A person's shell knows nothing of it, so then it is asked for.
fn restart(
    config: &UpgradeConfig,
    agent: Option<u32>,
    children: &Rc<Children>,
) -> Option<Vec<String>> {
    if let Some(command) = Restart::find(config.restart_command.as_deref()).command() {
        return Some(command.to_vec());
    }
    let services: [(&[&str], &[&str]); 2] = [
        (
            &["systemctl", "is-active", "--quiet", "vmkit-agent"],
            &["systemctl", "--no-block", "restart", "vmkit-agent"],
        ),
        (&["rc-service", "vmkit-agent", "status"], &["rc-service", "vmkit-agent", "restart"]),
    ];
    let mut services = services.iter().filter(|_| agent.is_none());
    let running = services.find(|(ask, _)| guard::run(ask, children).is_ok());
    running.map(|(_, restart)| restart.iter().map(|&word| word.to_owned()).collect())
}

fn may_start(request: &Request, installed: &Path, store: &Store) -> Result<(), Error> {
    let state = store.read();
    // A trial of another agent, which shares the folder, is no reason to wait.
    if let Some(trial) = state.trial.filter(|trial| trial.installed == installed) {
        return Err(Error::busy(format!(
            "busy: version {} is on probation until the gateway acknowledges its register; ask \
             again in {} s",
            trial.version, trial.probation
        )));
    }
    match state
        .rolled_back
        .iter()
        .find(|before| before.banned && before.checksum == request.checksum)
    {
        Some(banned) => Err(banned.error()),
        None => Ok(()),
    }
}

/// From the URL to a binary beside the installed one that is what it should be and runs.
fn bring_in(
    request: &Request,
    config: &UpgradeConfig,
    store: &Store,
    story: &Arc<Story>,
    children: &Rc<Children>,
) -> Result<Staged, Error> {
    let installed = installed()?;
    let client = connect::client(config, story);
    let places = download_paths(store.folder(), &request.version);
    let mut download = fetch::download(&client, request, &places, story)?;
    let seconds = download.took.as_secs_f64();
    tell(story, Step::Download, format!("downloaded {} bytes in {seconds:.1} s", download.bytes))?;
    if download.checksum != request.checksum {
        return Err(Error::mismatch(format!(
            "checksum mismatch: what is at {} does not have the SHA-256 {}; nothing was changed, \
             check the release",
            request.url, request.checksum
        )));
    }
    let mut verified = "verified the checksum".to_owned();
    if let Some(key) = &config.release_key {
        let signature = fetch::signature_of(&client, &request.url, key, story)?;
        let signed = Signed { url: request.url.signature(), version: &request.version };
        let replaces = signed.verify(&mut download.file, &signature, key)?;
        if story.is_supervised() {
            signature::check_floor(&request.version, version::VERSION, replaces.as_deref())?;
        }
        verified.push_str(" and the signature");
    }
    tell(story, Step::Verify, verified)?;
    let staged = Staged::copy(&mut download.file, request, &installed)?;
    drop(download);
    staged.test(&request.version, children)?;
    tell(story, Step::Test, format!("tested: it is version {} and runs here", request.version))?;
    Ok(staged)
}

/// From a staged binary to an installed one on trial, with a watch over it at every instant.
fn exchange(
    staged: Staged,
    trial: Trial,
    store: &Store,
    story: &Story,
    children: &Rc<Children>,
) -> Result<(), Error> {
    // Before the trial, which ends by putting it back.
    swap::keep_previous(&trial.installed)?;
    let remembered = trial.clone();
    change(store, |state| {
        state.unfinished = None;
        state.trial = Some(remembered);
    })?;
    let version = trial.version.clone();
    let probation = Duration::from_secs(trial.probation);
    let armed = guard::arm(&trial, store, probation, children).map_err(|error| {
        Error::not_replaced(format!("can't keep watch over the new version: {error}"))
    });
    let exchanged = armed.and_then(|()| {
        let text = format!("the previous version is kept and watches for {} s", trial.probation);
        // The last moment at which a death of the agent stops it all.
        tell(story, Step::Guard, text)?;
        staged.install()
    });
    if exchanged.is_err() {
        let _ = store.change(|state| state.trial = None);
        guard::call_off_now(children);
    } else {
        // Said or not, it is done.
        let _ = story.done(Step::Swap, format!("swapped: version {version} is installed"));
    }
    exchanged
}

fn tell(story: &Story, step: Step, text: String) -> Result<(), Error> {
    story.done(step, text).map_err(|error| Error::new(rpc::INTERNAL_ERROR, error.to_string()))
}

fn change(store: &Store, change: impl FnOnce(&mut State)) -> Result<(), Error> {
    store
        .change(change)
        .map_err(|error| Error::not_replaced(files::on("write", store.path(), &error)))
}

fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Puts everything back as it was before an upgrade whose upgrader was ended from outside, also
/// where the new binary was in place already. `vmkit-agent upgrade --clean-up`.
///
/// # Errors
/// What could not be put back.
pub fn clean_up() -> Result<(), Error> {
    let path = std::fs::read_link("/proc/self/exe").map_err(|error| {
        Error::not_replaced(format!("can't tell where this binary is installed: {error}"))
    })?;
    let path = path.to_string_lossy();
    let installed = Path::new(path.strip_suffix(" (deleted)").unwrap_or(&path));
    let store = Store::open(installed);
    let _lock = store.inherit_upgrade()?;
    let state = store.read();
    let unfinished = state.unfinished.iter();
    let trial = state.trial.filter(|trial| trial.installed == installed);
    for version in unfinished.chain(trial.as_ref().map(|trial| &trial.version)) {
        probation::clean(&store, installed, version);
    }
    if let Some(trial) = trial {
        if swap::checksum(installed).is_ok_and(|there| there == trial.checksum) {
            swap::put_back(&trial.previous(), installed).map_err(|error| {
                Error::not_replaced(files::on("put back", &trial.previous(), &error))
            })?;
        }
        change(&store, |state| state.trial = None)?;
        let waiter =
            Waiter::new().map_err(|error| Error::new(rpc::INTERNAL_ERROR, error.to_string()))?;
        guard::call_off_now(&Children::new(waiter, Vec::new()));
    }
    change(&store, |state| state.unfinished = None)
}
