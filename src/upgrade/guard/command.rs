//! The guard's process, `vmkit-agent rollback`, run by the previous binary: waits for the end of a
//! trial and rolls it back unless it was confirmed.

use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::after_boot;
use super::arming::ARMED;
use super::failed_starts::FailedStarts;
use super::revive::{self, Environment};
use super::systemd;
use crate::host::init::Init;
use crate::host::process::Process;
use crate::host::restart;
use crate::run::command;
use crate::run::job::Children;
use crate::run::wait::{self, Waiter};
use crate::upgrade::request::{Checksum, Version};
use crate::upgrade::roll_back::{Done, Failure, roll_back};
use crate::upgrade::state::{Cause, Stage, Trial};
use crate::upgrade::store::Store;

/// How long a restart may take. The service may have to be stopped first.
const RESTART: Duration = Duration::from_secs(60);
/// How often the guard reads the state of the trial.
const LOOK: Duration = Duration::from_secs(1);
/// How long the guard waits after a failure before it tries again.
const RETRY: Duration = Duration::from_secs(5);
/// So many restarts are tried. After that the init system has to start the service.
const RESTARTS: u32 = 12;

/// The guard's arguments. They are enough for a roll-back where the state can't be read.
pub struct Order {
    pub state: PathBuf,
    pub checksum: Checksum,
    pub installed: PathBuf,
    /// The rest of the probation; none where it is over.
    pub after: Option<Duration>,
}

/// Rolls back the trial that `order` names once its probation is over or its binary has failed,
/// unless the trial is over by then.
///
/// # Errors
/// Why the previous version does not run, for the log.
pub fn roll_back_command(order: &Order) -> Result<(), String> {
    let waiter = Waiter::new().map_err(|error| error.to_string())?;
    let children = Children::new(waiter, Vec::new());
    let store = Store::at(order.state.clone());
    let environment = match current(&store, order) {
        Some(trial) => Environment::of(&trial),
        None => return over(order),
    };
    // While this lock is held, no upgrade begins on a state that can't be read.
    let _watching = store.lock_watch();
    let watched = order.after.map(|after| watch(&store, order, after, &children));
    if watched == Some(Watched::Stopped) {
        log::info!("stopped; after a reboot, a timer rolls back a trial that is not confirmed");
        return Ok(());
    }
    let Some(trial) = current(&store, order) else { return over(order) };
    let (cause, reason) = verdict(&trial, watched == Some(Watched::FailedToStart));
    let Some(done) = roll_back_until_done(&store, &trial, cause, &reason)? else {
        return over(order);
    };
    after_boot::call_off();
    if systemd::is_here() {
        systemd::stop_timers(&children);
    }
    let trial = &done.trial;
    let restarted = restart(trial, &children);
    done.write_down(&store, cause, &reason);
    if restarted == Ok(true) {
        return Ok(());
    }
    // Nobody else starts the agent, or who should has failed. The lock of the roll-back is held until
    // this process is the agent, so that another guard does not become one too.
    let revived = match restarted {
        Err(_) if systemd::is_here() => restarted.map(drop),
        _ => revive::revive(trial, environment),
    };
    drop(done);
    revived
}

fn over(order: &Order) -> Result<(), String> {
    log::info!("no roll-back: the trial of the binary {} is over", order.checksum);
    Ok(())
}

/// The trial as it is on disk; none where it is over. Where the state can't be read, the trial as
/// `order` has it.
fn current(store: &Store, order: &Order) -> Option<Trial> {
    if let Ok(state) = store.load() {
        let is_ours =
            |trial: &Trial| trial.checksum == order.checksum && trial.installed == order.installed;
        return state.trial.filter(is_ours);
    }
    let version = Version::try_from("unknown".to_owned()).ok()?;
    let probation = order.after.unwrap_or_default();
    let mut trial = Trial::new(version, order.checksum, &order.installed, probation, None);
    trial.restart = restart::command(Init::find());
    trial.unit = systemd::installed_unit();
    Some(trial)
}

/// Why the binary on trial is rolled back: the cause for programs, the reason for people.
fn verdict(trial: &Trial, failed_to_start: bool) -> (Cause, String) {
    if let Stage::RollingBack { reason, cause } = &trial.stage {
        return (*cause, reason.clone());
    }
    if failed_to_start || (trial.starts == 0 && was_started(trial)) {
        let reason = "it never started, or ended before it recorded its start; the service's log \
                      has the reason";
        (Cause::NeverStarted, reason.to_owned())
    } else if trial.refused {
        (Cause::Refused, "the gateway did not accept its register".to_owned())
    } else {
        let Trial { probation, starts, .. } = trial;
        let reason = format!(
            "no gateway accepted its register within {probation} s (started {starts} times)"
        );
        (Cause::Unacknowledged, reason)
    }
}

/// Whether somebody has started the new binary: the agent's process has ended, or executes it. After
/// an upgrade by hand nobody may have.
fn was_started(trial: &Trial) -> bool {
    trial.process.as_ref().is_some_and(|process| {
        let runs_it = |process: Process| process.runs_file(&trial.installed);
        !process.lives() || Process::find(process.pid).is_some_and(runs_it)
    })
}

/// Tries until the roll-back is done: a full disk or a foreign lock may pass. The trial that was
/// rolled back; none where it is over.
fn roll_back_until_done(
    store: &Store,
    trial: &Trial,
    cause: Cause,
    reason: &str,
) -> Result<Option<Done>, String> {
    let mut last = String::new();
    loop {
        match roll_back(store, trial, cause, reason, None) {
            Ok(done) => return Ok(done),
            Err(Failure { message, is_final: true }) => return Err(message),
            Err(Failure { message, .. }) if message == last => {}
            Err(Failure { message, .. }) => {
                log::error!("{message}; trying again every {} s", RETRY.as_secs());
                last = message;
            }
        }
        wait::pause(RETRY);
    }
}

/// Restarts the service. False where no command does.
fn restart(trial: &Trial, children: &Rc<Children>) -> Result<bool, String> {
    let Some(command) = &trial.restart else { return Ok(false) };
    match trial.unit.as_deref().filter(|_| systemd::is_here()) {
        Some(unit) if systemd::is_stopped(unit, children) => {
            log::info!("{unit} was stopped, so it is not started");
            return Ok(true);
        }
        // Killed first: systemd waits up to 90 s for a binary that ignores SIGTERM.
        Some(unit) => systemd::kill(unit, children),
        None => revive::end(trial),
    }
    let mut outcome = Ok(String::new());
    for _ in 0..RESTARTS {
        outcome = command::run(command, RESTART, children);
        if outcome.is_ok() {
            return Ok(true);
        }
        wait::pause(RETRY);
    }
    outcome.map(|_| true).map_err(|error| {
        let advice = Init::find()
            .restart()
            .map_or(String::new(), |words| format!("; try: sudo {}", words.join(" ")));
        let failure = format!("rolled back, but the service can't be restarted: {error}{advice}");
        log::error!("{failure}");
        failure
    })
}

/// Why the guard no longer watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watched {
    /// The probation, or the trial, is over.
    Over,
    /// systemd has tried in vain to start the new binary.
    FailedToStart,
    /// The machine is going down. The guard of the next boot goes on.
    Stopped,
}

/// Waits until the probation or the trial is over, or the new binary has failed to start.
fn watch(store: &Store, order: &Order, after: Duration, children: &Rc<Children>) -> Watched {
    let started = Instant::now();
    // Leaves the agent's session and folder. This fails only for a leader of a process group, which
    // has left the agent's already.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    // Under systemd nobody reads this, so the write may fail.
    let _ = writeln!(io::stdout(), "{ARMED}");
    let is_unit = systemd::is_guard();
    let mut failed_starts = FailedStarts::default();
    loop {
        let state = store.load();
        let trial = state.as_ref().map(|state| state.trial.as_ref());
        let ours = trial.map(|trial| trial.filter(|trial| trial.checksum == order.checksum));
        let left = match ours {
            Ok(None) => return Watched::Over,
            // A guard before this one has decided, and was killed.
            Ok(Some(trial)) if trial.stage != Stage::Staged => return Watched::Over,
            // The time of a guard that was killed counts for the guard that systemd starts again.
            Ok(Some(trial)) => trial.left(),
            Err(_) => None,
        };
        if left.unwrap_or(after.saturating_sub(started.elapsed())).is_zero() {
            return Watched::Over;
        }
        let uncounted = ours.ok().flatten().filter(|trial| trial.starts == 0);
        let unit = uncounted.and_then(|trial| trial.unit.as_deref());
        let failed = unit.is_some_and(|unit| failed_starts.are_enough(unit, children));
        if failed {
            return Watched::FailedToStart;
        }
        // A signal to a guard that is no unit may be meant for the agent that is being replaced.
        if children.rest(left.unwrap_or(LOOK).min(LOOK)) && is_unit {
            return Watched::Stopped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::process::Identity;
    use crate::upgrade::tests::{Folder, checksum_of, trial};

    /// An installed binary on trial, and the order of its guard.
    fn scene(folder: &Folder) -> (Store, Trial, Order) {
        let installed = folder.file("agent", b"new");
        folder.file("agent.prev", b"old");
        let store = Store::at(folder.path().join("upgrade.json"));
        let trial = trial(&installed, b"new");
        store.change(|state| state.trial = Some(trial.clone())).unwrap();
        let (state, checksum) = (store.path().to_owned(), trial.checksum);
        let order = Order { state, checksum, installed, after: Some(Duration::from_secs(7)) };
        (store, trial, order)
    }

    #[test]
    fn the_verdict_names_the_binarys_fault_before_the_gateways() {
        let folder = Folder::new();
        let (_, mut trial, _) = scene(&folder);
        let cause = |trial: &Trial, failed| verdict(trial, failed).0;
        assert_eq!(cause(&trial, false), Cause::Unacknowledged, "nobody has started it");
        let mut agent = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        trial = trial.run_by(Identity::of(agent.id()));
        assert_eq!(cause(&trial, false), Cause::Unacknowledged, "the agent runs on as it was");
        agent.kill().and_then(|()| agent.wait()).unwrap();
        assert_eq!(cause(&trial, false), Cause::NeverStarted);
        trial.refused = true;
        assert_eq!(cause(&trial, false), Cause::NeverStarted);
        trial.starts = 2;
        assert_eq!(cause(&trial, true), Cause::NeverStarted);
        assert_eq!(cause(&trial, false), Cause::Refused);
        trial.refused = false;
        let (cause, reason) = verdict(&trial, false);
        assert_eq!(cause, Cause::Unacknowledged);
        assert_eq!(reason, "no gateway accepted its register within 120 s (started 2 times)");
    }

    #[test]
    fn a_guard_sees_its_own_trial_as_it_stands() {
        let folder = Folder::new();
        let (store, mut trial, order) = scene(&folder);
        assert_eq!(current(&store, &order).as_ref(), Some(&trial));
        trial.starts = 3;
        store.change(|state| state.trial = Some(trial.clone())).unwrap();
        assert_eq!(current(&store, &order).as_ref(), Some(&trial));
        let other = checksum_of(b"other");
        let (state, installed) = (order.state.clone(), order.installed.clone());
        let another = Order { state, checksum: other, installed, after: None };
        assert!(current(&store, &another).is_none());
        store.change(|state| state.trial = None).unwrap();
        assert!(current(&store, &order).is_none());
    }

    #[test]
    fn a_guard_goes_by_its_order_where_the_state_is_damaged() {
        let folder = Folder::new();
        let (store, trial, order) = scene(&folder);
        std::fs::write(store.path(), "{").unwrap();
        let found = current(&store, &order).unwrap();
        assert_eq!((found.checksum, &found.installed), (trial.checksum, &trial.installed));
        assert_eq!((found.probation, found.previous()), (7, trial.previous()));
    }

    #[test]
    fn a_guard_of_a_trial_that_is_over_changes_nothing() {
        let folder = Folder::new();
        let (store, _, order) = scene(&folder);
        store.change(|state| state.trial = None).unwrap();
        assert_eq!(roll_back_command(&order), Ok(()));
        assert_eq!(folder.names(), ["agent", "agent.prev"]);
        assert_eq!(std::fs::read(&order.installed).unwrap(), b"new");
    }
}
