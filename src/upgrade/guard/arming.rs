//! How the guard is started and called off. This code runs in the upgrader and in the agent.
//!
//! Under systemd the guard is a unit, so it outlives the agent's. Elsewhere, or where the agent
//! executes the new binary in its own place, it is a process that has left the agent's group.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::after_boot;
use super::systemd;
use crate::run::job::Children;
use crate::run::wait;
use crate::upgrade::state::Trial;
use crate::upgrade::store::Store;

/// What a guard that is a process writes on its standard output once it watches.
pub const ARMED: &str = "armed";
/// How long such a guard may take until then.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many times systemd is asked to start the guard.
const TRIES: u32 = 3;

/// Whether the guard of `trial` is a unit of systemd's. The guard of an agent without a restart
/// command becomes the agent in the end, so it is no unit.
pub fn is_systemds(trial: &Trial) -> bool {
    systemd::is_here() && trial.restart.is_some()
}

/// Starts the guard: from now on `trial` is rolled back in `after`, unless it is confirmed first.
///
/// # Errors
/// Why there is no guard.
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
        log::warn!(
            "after a reboot nothing would roll back version {}: the units for it can't be \
             written: {error}",
            trial.version
        );
    }
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        systemd::stop_earlier_guard(children);
        outcome = systemd::start_guard(&command, children);
        if outcome.is_ok() {
            // That timer has counted since the boot, so it would end too early.
            systemd::stop_boot_timer(children);
            break;
        }
        // Systemd unloads the earlier guard's unit a moment after its end.
        wait::pause(Duration::from_millis(100));
    }
    outcome
}

/// Calls off the guard of the next boot. The command that stops the guard of this boot, to be run
/// by the caller; none where the guard is a process, which sees by itself that the trial is over.
pub fn call_off() -> Option<Vec<OsString>> {
    after_boot::call_off();
    stop_command()
}

/// The command that stops the guard's units; none without systemd.
pub fn stop_command() -> Option<Vec<OsString>> {
    systemd::is_here().then(systemd::stop_command)
}

/// Calls off every guard.
pub fn call_off_now(children: &Rc<Children>) {
    if let Some(command) = call_off() {
        let _ = systemd::run(&command, children);
    }
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
        // Every child that ends interrupts the wait. There are few.
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
            Err(failed("its rollback command does not start"))
        }
    }
}
