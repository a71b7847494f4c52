//! Who keeps watch over a probation, because the new binary may not even start: under systemd a
//! timer of its own, elsewhere a process. Both run the previous binary's `rollback`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::revive::Memory;
use super::state::{Store, Trial};
use super::{Checksum, after_boot, probation, revive};
use crate::host::init;
use crate::run::job::Children;
use crate::run::wait::{self, Waiter};

const UNIT: &str = "vmkit-agent-rollback";
const TIMER: &str = "vmkit-agent-rollback.timer";
/// How long systemd may take for each of its commands, and a process to say that it watches.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a restart may take, with a service that first has to be ended.
const RESTART: Duration = Duration::from_secs(60);
const ARMED: &str = "armed";

/// Whether systemd manages this machine, and can be asked for a timer.
pub fn has_timers() -> bool {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    Path::new("/run/systemd/system").exists() && on_path("systemd-run")
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
    let mut command: Vec<OsString> = vec![trial.previous.clone().into()];
    command.extend(["rollback", "--state"].map(OsString::from));
    command.push(store.path().into());
    command.extend(["--trial".into(), trial.checksum.to_string().into()]);
    if !has_timers() {
        command.extend(["--after".into(), after.into()]);
        return start_process(&command, children);
    }
    if let Err(error) = after_boot::arm(&command, &after) {
        log::warn!("a reboot during the probation would end the watch: {error}");
    }
    let unit = format!("--unit={UNIT}");
    let when = format!("--on-active={after}");
    let mut timer = ["systemd-run", "--collect", &unit, &when, "--timer-property=AccuracySec=1s"]
        .map(OsString::from)
        .to_vec();
    timer.append(&mut command);
    let mut outcome = Ok(());
    for _ in 0..3 {
        // The timer of an upgrade before. It is unloaded a moment after it was stopped.
        let _ = run(&["systemctl", "stop", TIMER], children);
        outcome = run(&timer, children);
        if outcome.is_ok() {
            // That of this boot has counted from its beginning.
            let _ = run(&["systemctl", "stop", after_boot::TIMER], children);
            break;
        }
        wait::pause(Duration::from_millis(100));
    }
    outcome
}

/// Has the next boot do nothing. The command that ends the watch of this one.
pub fn call_off() -> Option<Vec<OsString>> {
    after_boot::call_off();
    stop_command()
}

/// The command that ends the watch early, where it has to be ended: the process sees by itself
/// that its trial is over, and so does a timer that is left to run out.
pub fn stop_command() -> Option<Vec<OsString>> {
    let stop = ["systemctl", "--no-block", "stop", TIMER, after_boot::TIMER];
    has_timers().then(|| stop.map(OsString::from).into())
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
    init::run(command, PATIENCE, children).map(drop)
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

/// The guard itself, `vmkit-agent rollback`: rolls back the trial of `checksum`, after a while if
/// one is given, unless it is over by then.
///
/// # Errors
/// What an operator has to know.
pub fn roll_back_command(
    state: PathBuf,
    checksum: Checksum,
    after: Option<Duration>,
) -> Result<(), String> {
    let store = Store::at(state);
    let on_trial = || store.read().trial.filter(|trial| trial.checksum == checksum);
    let memory = on_trial().map(|trial| Memory::of(&trial)).unwrap_or_default();
    if after.is_some_and(|after| !watch(after, &|| on_trial().is_some())) {
        return Ok(());
    }
    let Some(trial) = on_trial() else {
        log::info!("no roll-back: the trial of {checksum} is over");
        return Ok(());
    };
    let reason = format!(
        "its register was not acknowledged within {} s (started {} times)",
        trial.probation, trial.starts
    );
    let Some(trial) = probation::roll_back(&store, &checksum, &reason)? else {
        return Ok(());
    };
    let waiter = Waiter::new().map_err(|error| error.to_string())?;
    let children = Children::new(waiter, Vec::new());
    call_off_now(&children);
    match &trial.restart {
        Some(command) => {
            // It had its time: one that ignores SIGTERM would be waited for, 90 s by default.
            if has_timers() {
                let kill = ["systemctl", "kill", "--signal=KILL", "vmkit-agent"];
                let _ = run(&kill, &children);
            } else {
                revive::end(&trial, &memory);
            }
            init::run(command, RESTART, &children)
                .map(drop)
                .map_err(|error| format!("rolled back, but can't restart the service: {error}"))
        }
        None => revive::revive(&trial, memory),
    }
}

/// Waits, apart from everything that started this process. False once there is nothing left to
/// wait for.
fn watch(after: Duration, on_trial: &dyn Fn() -> bool) -> bool {
    let end = Instant::now() + after;
    // It fails only for the leader of a group, who has left that of the agent as well.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    // Nobody listens after this, which writing would find out.
    let _ = writeln!(io::stdout(), "{ARMED}");
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        wait::pause(left.min(Duration::from_secs(1)));
        if !on_trial() {
            return false;
        }
    }
}
