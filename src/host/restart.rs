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
        Init::Systemd => Some(words(&[
            "/bin/sh",
            "-c",
            "systemctl reset-failed vmkit-agent; systemctl --no-block restart vmkit-agent",
        ])),
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
        let init = if under("INVOCATION_ID") && Init::find() == Init::Systemd && is_service() {
            Init::Systemd
        } else if under("RC_SVCNAME") {
            Init::OpenRc
        } else {
            Init::None
        };
        match command(init) {
            Some(_) if init == Init::OpenRc && is_supervised() => Restart::Exit,
            Some(command) => Restart::Command(command),
            None => Restart::InPlace,
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

/// Whether systemd has started this process as the service `vmkit-agent`, and not as part of
/// another service such as cron or cloud-init.
fn is_service() -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup");
    groups.is_ok_and(|groups| groups.contains("/vmkit-agent.service"))
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
