//! How the agent comes to run again after its file was replaced. The commands that restart the
//! service have their home here.

use std::env;
use std::fs;

use super::init::{self, Init};

/// How the new binary comes to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restart {
    /// By a command. It may end this process while the command runs.
    Command(Vec<String>),
    /// By a supervisor, which starts the agent whenever it ends.
    Exit,
    /// By the agent itself, which executes the new binary in its own place.
    InPlace,
}

/// The command that restarts the service, without waiting for the restart where it can be helped.
pub fn command(init: Init) -> Option<Vec<String>> {
    match init {
        // A command that waited would deadlock where systemd ends it together with the service.
        // `reset-failed`: earlier starts must not make systemd refuse this one (StartLimitBurst=).
        Init::Systemd => Some(unit_command("vmkit-agent.service")),
        Init::OpenRc => Some(words(&["rc-service", "vmkit-agent", "restart"])),
        Init::None => None,
    }
}

/// A command that succeeds while the service runs.
pub fn is_active(init: Init) -> Option<init::Command> {
    match init {
        Init::Systemd => Some(&["systemctl", "is-active", "--quiet", "vmkit-agent"]),
        Init::OpenRc => Some(&["rc-service", "vmkit-agent", "status"]),
        Init::None => None,
    }
}

impl Restart {
    /// By the command that the operator has `configured` for `/bin/sh -c`; otherwise by what has
    /// started this process.
    pub fn find(configured: Option<&str>) -> Restart {
        match configured {
            Some(command) => Restart::Command(words(&["/bin/sh", "-c", command])),
            None => Restart::by_surroundings(),
        }
    }

    fn by_surroundings() -> Restart {
        // Systemd and OpenRC set these variables for the processes that they start. An agent that
        // was started by hand beside an installed service must restart itself, not the service.
        let under = |variable| env::var_os(variable).is_some();
        if let Some(unit) = own_unit() {
            Restart::Command(unit_command(&unit))
        } else if under("RC_SVCNAME") && is_supervised() {
            Restart::Exit
        } else if under("RC_SVCNAME") {
            command(Init::OpenRc).map_or(Restart::InPlace, Restart::Command)
        } else {
            Restart::InPlace
        }
    }

    /// The command of [`Restart::Command`].
    pub fn command(&self) -> Option<&[String]> {
        match self {
            Restart::Command(command) => Some(command),
            Restart::Exit | Restart::InPlace => None,
        }
    }
}

/// The unit of systemd whose main process is this one, or the agent that has started this one. None
/// where the process is only part of another service, such as cron or cloud-init.
pub fn own_unit() -> Option<String> {
    env::var_os("INVOCATION_ID").filter(|_| Init::find() == Init::Systemd)?;
    let unit = surrounding_unit()?;
    let is_main = || {
        let main = env::var("SYSTEMD_EXEC_PID").unwrap_or_default();
        [std::process::id(), std::os::unix::process::parent_id()]
            .iter()
            .any(|pid| main == pid.to_string())
    };
    // systemd before 248 does not tell which process is the main one.
    (unit == "vmkit-agent.service" || is_main()).then_some(unit)
}

/// The unit of systemd that this process is part of, by the kernel's word.
pub fn surrounding_unit() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let unit = line.rsplit('/').next()?;
        // The name becomes part of a shell command.
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@-\\".contains(&byte);
        (unit.ends_with(".service") && unit.bytes().all(is_safe)).then(|| unit.to_owned())
    })
}

/// A command that waited would deadlock where systemd ends it together with the service.
/// `reset-failed`: earlier starts must not make systemd refuse this one (StartLimitBurst=).
fn unit_command(unit: &str) -> Vec<String> {
    let restart = format!("systemctl reset-failed '{unit}'; systemctl --no-block restart '{unit}'");
    words(&["/bin/sh", "-c", &restart])
}

/// Whether OpenRC's supervisor is our parent; the kernel shows 15 characters of its name.
fn is_supervised() -> bool {
    let parent = std::os::unix::process::parent_id();
    fs::read_to_string(format!("/proc/{parent}/comm"))
        .is_ok_and(|name| name.trim() == "supervise-daemo")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(String::from).collect()
}
