//! The init system: what starts this agent anew once its file has been replaced.

use std::env;
use std::fs;
use std::path::Path;

/// How the new binary comes to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restart {
    /// A command that asks somebody else for it, and may end this process while it runs.
    Command(Vec<String>),
    /// A supervisor starts whatever ends.
    Exit,
    /// There is nobody: the agent executes the new binary in its own place.
    InPlace,
}

impl Restart {
    /// What is `configured` for the shell, else what the surroundings of this process tell.
    pub fn find(configured: Option<&str>) -> Restart {
        match configured {
            Some(command) => Restart::Command(words(&["/bin/sh", "-c", command])),
            None => Restart::by_surroundings(),
        }
    }

    fn by_surroundings() -> Restart {
        // Both set these for what they start, and only for that: an agent that was started by hand
        // beside an installed service must not restart the service instead of itself.
        let under = |variable| env::var_os(variable).is_some();
        if under("INVOCATION_ID") && Path::new("/run/systemd/system").is_dir() && is_service() {
            // Waited for, it would deadlock where systemd ends the command along with the service.
            // Forgotten first, a start is not refused for the ones before it (StartLimitBurst=).
            let restart =
                "systemctl reset-failed vmkit-agent; systemctl --no-block restart vmkit-agent";
            Restart::Command(words(&["/bin/sh", "-c", restart]))
        } else if under("RC_SVCNAME") && is_supervised() {
            Restart::Exit
        } else if under("RC_SVCNAME") {
            Restart::Command(words(&["rc-service", "vmkit-agent", "restart"]))
        } else {
            Restart::InPlace
        }
    }

    /// The command, where it is one.
    pub fn command(&self) -> Option<&[String]> {
        match self {
            Restart::Command(command) => Some(command),
            Restart::Exit | Restart::InPlace => None,
        }
    }
}

/// Whether it is the service of our name that systemd has started this process for: a restart of
/// another, of a cron or a cloud-init, is not what an upgrade is to do.
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
