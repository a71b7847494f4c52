//! Who keeps watch over a probation, because the new binary may not even start: the previous
//! binary's `rollback`, as a unit of its own under systemd, elsewhere as a process of its own.

use crate::run::command;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::after_boot;
use super::failed_starts::FailedStarts;
use super::revive;
use super::revive::Memory;
use crate::host::init::{self, Init};
use crate::run::job::Children;
use crate::run::wait::{self, Waiter};
use crate::upgrade::request::{Checksum, Version};
use crate::upgrade::roll_back::{Failure, roll_back};
use crate::upgrade::state::{Cause, Trial};
use crate::upgrade::store::{Store, Unreadable};

const UNIT: &str = "vmkit-agent-rollback";
/// The name of the guard's unit, and of the timer that version 0.1.0 has in its place.
const UNITS: [&str; 2] = ["vmkit-agent-rollback.service", "vmkit-agent-rollback.timer"];
/// How long systemd may take for each of its commands, and a process to say that it watches.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a restart may take, with a service that first has to be ended.
const RESTART: Duration = Duration::from_secs(60);
/// How often the guard looks at the trial, and tries again what has failed.
const STEP: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
/// So many restarts are tried. Later ones are the init system's.
const RESTARTS: u32 = 12;
const ARMED: &str = "armed";

/// What the guard is started with. It is enough for a roll-back where the state can't be read.
pub struct Order {
    pub state: PathBuf,
    pub checksum: Checksum,
    pub installed: PathBuf,
    /// The probation that is left; none where it is over.
    pub after: Option<Duration>,
}

/// Whether systemd manages this machine, and can be asked for a unit.
fn has_systemd() -> bool {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    Path::new("/run/systemd/system").exists() && on_path("systemd-run")
}

/// Whether the guard of this trial is a unit of systemd's. An agent that nobody else restarts is
/// restarted as the guard's own process, so that guard is no unit.
pub fn is_systemds(trial: &Trial) -> bool {
    has_systemd() && trial.restart.is_some()
}

/// From now on `trial` is rolled back in `after`, unless it is confirmed first.
///
/// # Errors
/// Why nobody would keep watch.
pub fn arm(
    trial: &Trial,
    store: &Store,
    after: Duration,
    children: &Rc<Children>,
) -> Result<(), String> {
    let after = after.as_secs().max(1).to_string();
    let mut command: Vec<OsString> = vec![trial.previous().into(), "rollback".into()];
    command.extend(["--state".into(), store.path().into()]);
    command.extend(["--trial".into(), trial.checksum.to_string().into()]);
    command.extend(["--installed".into(), trial.installed.clone().into()]);
    let at_boot = command.clone();
    command.extend(["--after".into(), OsString::from(&after)]);
    if !is_systemds(trial) {
        return start_process(&command, children);
    }
    if let Err(error) = after_boot::arm(&at_boot, &after) {
        log::warn!("a reboot during the probation would end the watch: {error}");
    }
    let unit = format!("--unit={UNIT}");
    // A guard that is killed is started again.
    let restart = ["--property=Restart=on-failure", "--property=RestartSec=5"];
    let mut run_unit = ["systemd-run", "--quiet", "--collect", &unit, restart[0], restart[1]]
        .map(OsString::from)
        .to_vec();
    run_unit.append(&mut command);
    let mut outcome = Ok(());
    for _ in 0..3 {
        // The guard of an upgrade before. It is unloaded a moment after it was stopped.
        let _ = run(&["systemctl", "stop", UNITS[0], UNITS[1]], children);
        outcome = run(&run_unit, children);
        if outcome.is_ok() {
            // The timer of this boot has counted from the boot's beginning.
            let _ = run(&["systemctl", "stop", after_boot::TIMER], children);
            break;
        }
        wait::pause(Duration::from_millis(100));
    }
    outcome
}

/// Has the next boot do nothing. The command that ends the watch of this boot.
pub fn call_off() -> Option<Vec<OsString>> {
    after_boot::call_off();
    stop_command()
}

/// The command that ends the watch early, where it has to be ended: a process sees by itself that
/// its trial is over.
pub fn stop_command() -> Option<Vec<OsString>> {
    let stop = ["systemctl", "--no-block", "stop", UNITS[0], UNITS[1], after_boot::TIMER];
    has_systemd().then(|| stop.map(OsString::from).into())
}

/// Ends the watch, and waits for that.
pub fn call_off_now(children: &Rc<Children>) {
    if let Some(command) = call_off() {
        let _ = run(&command, children);
    }
}

/// Runs a command of the init system's to its end.
///
/// # Errors
/// What it said.
pub fn run<W: AsRef<OsStr>>(command: &[W], children: &Rc<Children>) -> Result<(), String> {
    command::run(command, PATIENCE, children).map(drop)
}

fn start_process(command: &[OsString], children: &Rc<Children>) -> Result<(), String> {
    let failed = |why: &str| format!("{}: {why}", command[0].to_string_lossy());
    let mut guard = children
        .start_to_stay(&command[0], &command[1..])
        .map_err(|error| failed(&error.to_string()))?;
    let mut said = [0; ARMED.len()];
    let heard = guard.stdout.take().is_some_and(|mut stdout| {
        let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let mut ready = Err(Errno::INTR);
        // Ended by every child that ends, of which there are few.
        while ready == Err(Errno::INTR) {
            let mut watched = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
            ready = poll(&mut watched, Some(&timeout));
        }
        ready == Ok(1) && stdout.read_exact(&mut said).is_ok() && said == ARMED.as_bytes()
    });
    match heard {
        true => Ok(()),
        false => {
            let _ = guard.kill();
            Err(failed("its rollback does not start"))
        }
    }
}

/// The guard itself, `vmkit-agent rollback`: rolls back the trial that `order` names, once its time
/// is over or its binary has failed, unless the trial is over by then.
///
/// # Errors
/// What an operator has to know.
pub fn roll_back_command(order: &Order) -> Result<(), String> {
    let waiter = Waiter::new().map_err(|error| error.to_string())?;
    let children = Children::new(waiter, Vec::new());
    let store = Store::at(order.state.clone());
    let memory = match current(&store, order) {
        Some(trial) => Memory::of(&trial),
        None => return over(order),
    };
    let failed_to_start = order.after.is_some_and(|after| watch(&store, order, after, &children));
    let Some(trial) = current(&store, order) else { return over(order) };
    let (cause, reason) = verdict(&trial, failed_to_start);
    let Some(trial) = roll_back_until_done(&store, &trial, cause, &reason)? else {
        return over(order);
    };
    after_boot::call_off();
    let _ = has_systemd()
        .then(|| run(&["systemctl", "--no-block", "stop", UNITS[1], after_boot::TIMER], &children));
    restart(&trial, memory, &children)
}

fn over(order: &Order) -> Result<(), String> {
    log::info!("no roll-back: the trial of {} is over", order.checksum);
    Ok(())
}

/// The trial as it stands on disk, or as the guard was told where the state can't be read; none
/// where the trial is over.
fn current(store: &Store, order: &Order) -> Option<Trial> {
    match store.load() {
        Ok(state) => state.trial.filter(|trial| trial.checksum == order.checksum),
        Err(Unreadable::Damaged(_) | Unreadable::Io(_)) => {
            let version = Version::try_from("unknown".to_owned()).ok()?;
            let probation = order.after.unwrap_or_default();
            let mut trial = Trial::new(version, order.checksum, &order.installed, probation, None);
            let words = Init::find().restart();
            let owned = |words: init::Command| words.iter().map(|&word| word.to_owned()).collect();
            trial.restart = words.map(owned);
            Some(trial)
        }
    }
}

/// Why the binary on trial is given up, for programs and for people.
fn verdict(trial: &Trial, failed_to_start: bool) -> (Cause, String) {
    if failed_to_start || trial.starts == 0 {
        let reason = "it never got as far as to count its start; see the log of the service";
        (Cause::NeverStarted, reason.to_owned())
    } else if trial.refused {
        (Cause::Refused, "the gateway did not accept its register".to_owned())
    } else {
        let seconds = trial.probation;
        let reason = format!("no gateway accepted its register within {seconds} s");
        (Cause::Unacknowledged, format!("{reason} (started {} times)", trial.starts))
    }
}

/// Nothing that can pass keeps a bad binary in place.
fn roll_back_until_done(
    store: &Store,
    trial: &Trial,
    cause: Cause,
    reason: &str,
) -> Result<Option<Trial>, String> {
    let mut last = String::new();
    loop {
        match roll_back(store, trial, cause, reason, None) {
            Ok(trial) => return Ok(trial),
            Err(Failure { message, is_final: true }) => return Err(message),
            Err(Failure { message, .. }) if message == last => {}
            Err(Failure { message, .. }) => {
                log::error!("{message}; it is tried every {} s", RETRY.as_secs());
                last = message;
            }
        }
        wait::pause(RETRY);
    }
}

fn restart(trial: &Trial, memory: Memory, children: &Rc<Children>) -> Result<(), String> {
    let Some(command) = &trial.restart else { return revive::revive(trial, memory) };
    // It had its time: a binary that ignores SIGTERM would be waited for, 90 s by default.
    if has_systemd() {
        let _ = run(&["systemctl", "kill", "--signal=KILL", "vmkit-agent"], children);
    } else {
        revive::end(trial);
    }
    let mut outcome = Ok(String::new());
    for _ in 0..RESTARTS {
        outcome = command::run(command, RESTART, children);
        if outcome.is_ok() {
            break;
        }
        wait::pause(RETRY);
    }
    outcome
        .map(drop)
        .map_err(|error| format!("rolled back, but the service can't be restarted: {error}"))
}

/// Waits, apart from everything that started this process, until the probation is over or the
/// trial is. True where the new binary has failed to start before that.
fn watch(store: &Store, order: &Order, after: Duration, children: &Rc<Children>) -> bool {
    let started = Instant::now();
    // It fails only for the leader of a group, which has left that of the agent as well.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    // Nobody reads this twice; an error would only say that nobody reads it at all.
    let _ = writeln!(io::stdout(), "{ARMED}");
    let mut failed_starts = FailedStarts::default();
    loop {
        let state = store.load();
        let trial = state.as_ref().map(|state| state.trial.as_ref());
        let ours = trial.map(|trial| trial.filter(|trial| trial.checksum == order.checksum));
        let left = match ours {
            Ok(None) => return false,
            // A guard that was killed and started again does not begin anew.
            Ok(Some(trial)) => trial.left(),
            Err(_) => None,
        };
        if left.unwrap_or(after.saturating_sub(started.elapsed())).is_zero() {
            return false;
        }
        let is_uncounted = matches!(ours, Ok(Some(trial)) if trial.starts == 0);
        if has_systemd() && is_uncounted && failed_starts.are_enough(children) {
            return true;
        }
        wait::pause(left.unwrap_or(STEP).min(STEP));
    }
}
