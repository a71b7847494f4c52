//! The guard and the service as units of systemd: every name, and every command about them.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::host::restart;
use crate::run::command;
use crate::run::job::Children;

const SERVICE: &str = "vmkit-agent.service";
/// The guard of this boot.
const GUARD: &str = "vmkit-agent-rollback.service";
/// The guard of version 0.1.0, which this version may have to call off.
const GUARD_0_1_0: &str = "vmkit-agent-rollback.timer";
/// The guard of the next boot: a timer, and the service that it starts.
pub const BOOT_TIMER: &str = "vmkit-agent-rollback-boot.timer";
pub const BOOT_SERVICE: &str = "vmkit-agent-rollback-boot.service";
/// How long systemd may take for each command.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether systemd manages this machine and `systemd-run` is installed.
pub fn is_here() -> bool {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    Path::new("/run/systemd/system").exists() && on_path("systemd-run")
}

/// The unit of an installed agent; none without systemd.
pub fn installed_unit() -> Option<String> {
    is_here().then(|| SERVICE.to_owned())
}

/// Starts the guard's command as a unit.
///
/// # Errors
/// What systemd said.
pub fn start_guard(guard: &[OsString], children: &Rc<Children>) -> Result<(), String> {
    let unit = format!("--unit={GUARD}");
    // Systemd starts a guard again that was killed.
    let options = [
        "--quiet",
        "--collect",
        &unit,
        "--property=Restart=on-failure",
        "--property=RestartSec=5",
        "--property=TimeoutStopSec=5",
    ];
    let mut command = vec![OsString::from("systemd-run")];
    command.extend(options.map(OsString::from));
    command.extend_from_slice(guard);
    run(&command, children)
}

/// Stops the guard of an earlier upgrade, and waits until it has ended.
pub fn stop_earlier_guard(children: &Rc<Children>) {
    // Mostly there is none, and the command fails.
    let _ = run(&["systemctl", "stop", GUARD, GUARD_0_1_0], children);
}

/// Stops the timer of [`super::after_boot`] that this boot has started.
pub fn stop_boot_timer(children: &Rc<Children>) {
    let _ = run(&["systemctl", "stop", BOOT_TIMER], children);
}

/// The command that stops every guard. It does not wait.
pub fn stop_command() -> Vec<OsString> {
    ["systemctl", "--no-block", "stop", GUARD, GUARD_0_1_0, BOOT_TIMER].map(OsString::from).into()
}

/// Stops the timers, for a guard that would otherwise stop itself.
pub fn stop_timers(children: &Rc<Children>) {
    let _ = run(&["systemctl", "--no-block", "stop", GUARD_0_1_0, BOOT_TIMER], children);
}

/// Kills the processes of a unit at once.
pub fn kill(unit: &str, children: &Rc<Children>) {
    let _ = run(&["systemctl", "kill", "--signal=KILL", unit], children);
}

/// Whether an operator has stopped a unit. A unit that has failed was not stopped.
pub fn is_stopped(unit: &str, children: &Rc<Children>) -> bool {
    show("ActiveState", unit, children).is_some_and(|state| state == "inactive")
}

/// Whether this process is the guard's unit.
pub fn is_guard() -> bool {
    restart::surrounding_unit().is_some_and(|unit| unit == GUARD)
}

/// How often systemd has restarted a unit by itself; none where it does not say.
pub fn restarts(unit: &str, children: &Rc<Children>) -> Option<u64> {
    show("NRestarts", unit, children)?.parse().ok()
}

/// A property of a unit.
fn show(property: &str, unit: &str, children: &Rc<Children>) -> Option<String> {
    let property = format!("--property={property}");
    let show = ["systemctl", "show", &property, "--value", unit];
    command::run(&show, PATIENCE, children).ok().map(|shown| shown.trim().to_owned())
}

/// Runs a command of the init system to its end.
///
/// # Errors
/// That the command failed, and the first line of its standard error.
pub fn run<W: AsRef<OsStr>>(command: &[W], children: &Rc<Children>) -> Result<(), String> {
    command::run(command, PATIENCE, children).map(drop)
}
