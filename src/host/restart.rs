//! How the agent is started again after its file has been replaced.

use std::env;
use std::fs;
use std::path::Path;

/// Who starts the new binary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restart {
    /// The init system, asked by this command, which may end this process while it runs.
    Command(Vec<String>),
    /// A supervisor, as soon as this process ends.
    Exit,
    /// Nobody: the agent executes the new binary in its own place.
    InPlace,
}

impl Restart {
    /// The `configured` shell command if there is one, else found from this process's environment,
    /// cgroup and parent.
    pub fn find(configured: Option<&str>) -> Restart {
        match configured {
            Some(command) => Restart::Command(words(&["/bin/sh", "-c", command])),
            None => Restart::by_surroundings(),
        }
    }

    fn by_surroundings() -> Restart {
        // systemd and OpenRC set these variables only for the processes that they start. An agent
        // that was started by hand beside an installed service must not restart the service.
        let under = |variable| env::var_os(variable).is_some();
        if under("INVOCATION_ID") && Path::new("/run/systemd/system").is_dir() && is_service() {
            // --no-block: systemd ends this command along with the service, so waiting would
            // deadlock. reset-failed: earlier starts must not count against StartLimitBurst=.
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

    /// The command, if this is [`Restart::Command`].
    pub fn command(&self) -> Option<&[String]> {
        match self {
            Restart::Command(command) => Some(command),
            Restart::Exit | Restart::InPlace => None,
        }
    }
}

/// Whether systemd has started this process as `vmkit-agent.service`. An upgrade must not restart
/// another service, such as cron or cloud-init, that has started the agent.
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
