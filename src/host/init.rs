//! The init system: where the agent's service is defined, the commands that enable, start and stop
//! it, and its state.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::run::command;
use crate::run::job::Children;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    Systemd,
    OpenRc,
    /// Neither: the agent is started by something else, such as a container, or by hand.
    None,
}

/// The file that makes the agent a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition {
    pub path: &'static str,
    pub text: &'static str,
    pub mode: u32,
}

/// The state of the service, as the init system reports it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub enabled: bool,
    pub active: bool,
    /// Starting or stopping.
    pub unsettled: bool,
    /// The definition has changed since the init system has read it.
    pub stale: bool,
    /// An administrator has masked it, so that it can't be started.
    pub masked: bool,
    /// Its main process, if known.
    pub pid: Option<u32>,
    /// The status with which its last main process ended, unless that is 0 or not known.
    pub last_exit: Option<u32>,
    /// The agent's own status line, which only systemd keeps.
    pub status: String,
}

/// The start of the agent's status line, and of a log line, once the gateway has accepted the agent.
pub const REGISTERED: &str = "registered as ";

pub type Command = &'static [&'static str];

/// How long a question to the init system may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Init {
    /// The init system of this machine.
    pub fn find() -> Init {
        if Path::new("/run/systemd/system").is_dir() {
            Init::Systemd
        } else if Path::new("/sbin/openrc-run").exists() {
            Init::OpenRc
        } else {
            Init::None
        }
    }

    /// The file to install, if this init system is known.
    pub fn definition(self) -> Option<Definition> {
        match self {
            Init::Systemd => Some(Definition {
                path: "/etc/systemd/system/vmkit-agent.service",
                text: include_str!("../../dist/vmkit-agent.service"),
                mode: 0o644,
            }),
            Init::OpenRc => Some(Definition {
                path: "/etc/init.d/vmkit-agent",
                text: include_str!("../../dist/vmkit-agent.openrc"),
                mode: 0o755,
            }),
            Init::None => None,
        }
    }

    /// Must be run after the definition has changed.
    pub fn reload(self) -> Option<Command> {
        (self == Init::Systemd).then_some(&["systemctl", "daemon-reload"])
    }

    /// Has the service started at every boot.
    pub fn enable(self) -> Option<Command> {
        match self {
            Init::Systemd => Some(&["systemctl", "--quiet", "enable", "vmkit-agent"]),
            Init::OpenRc => Some(&["rc-update", "add", "vmkit-agent", "default"]),
            Init::None => None,
        }
    }

    /// Starts the service now.
    pub fn start(self) -> Option<Command> {
        match self {
            Init::Systemd => Some(&["systemctl", "start", "vmkit-agent"]),
            Init::OpenRc => Some(&["rc-service", "vmkit-agent", "start"]),
            Init::None => None,
        }
    }

    /// Makes the init system believe that the service does not run.
    pub fn forget(self) -> Option<Command> {
        (self == Init::OpenRc).then_some(&["rc-service", "vmkit-agent", "zap"])
    }

    /// Restarts the service, or starts it.
    pub fn restart(self) -> Option<Command> {
        match self {
            Init::Systemd => Some(&["systemctl", "restart", "vmkit-agent"]),
            Init::OpenRc => Some(&["rc-service", "vmkit-agent", "restart"]),
            Init::None => None,
        }
    }

    /// Stops the service now; it starts again at the next boot.
    pub fn stop(self) -> Option<Command> {
        match self {
            Init::Systemd => Some(&["systemctl", "stop", "vmkit-agent"]),
            Init::OpenRc => Some(&["rc-service", "vmkit-agent", "stop"]),
            Init::None => None,
        }
    }

    /// Stops the service for good. (OpenRC: [`Init::links`] must be removed as well.)
    pub fn end(self) -> Option<Command> {
        match self {
            Init::Systemd => Some(&["systemctl", "--quiet", "disable", "--now", "vmkit-agent"]),
            Init::OpenRc => Some(&["rc-service", "vmkit-agent", "stop"]),
            Init::None => None,
        }
    }

    /// The links by which the service is enabled.
    pub fn links(self) -> Vec<PathBuf> {
        let (folders, name) = match self {
            Init::Systemd => ("/etc/systemd/system", "vmkit-agent.service"),
            Init::OpenRc => ("/etc/runlevels", "vmkit-agent"),
            Init::None => return Vec::new(),
        };
        let folders = fs::read_dir(folders).into_iter().flatten().flatten();
        let links = folders.map(|folder| folder.path().join(name));
        links.filter(|link| link.is_symlink()).collect()
    }

    /// The command that shows the agent's log.
    pub fn log_command(self) -> &'static str {
        match self {
            Init::Systemd => "journalctl -u vmkit-agent -n 50",
            Init::OpenRc | Init::None => "grep vmkit-agent /var/log/messages",
        }
    }

    /// The state of the service.
    ///
    /// # Errors
    /// Why systemd can't be asked.
    pub fn state(self, children: &Rc<Children>) -> Result<State, String> {
        match self {
            Init::Systemd => {
                let properties = "--property=ActiveState,UnitFileState,MainPID,StatusText,NeedDaemonReload,\
                     ExecMainStatus";
                let show = ["systemctl", "show", properties, "vmkit-agent"];
                command::run(&show, PATIENCE, children).map(|shown| systemd_state(&shown))
            }
            Init::OpenRc => {
                let status = ["rc-service", "vmkit-agent", "status"];
                let active = command::run(&status, PATIENCE, children).is_ok();
                Ok(State { enabled: !self.links().is_empty(), active, ..State::default() })
            }
            Init::None => Ok(State::default()),
        }
    }
}

fn systemd_state(shown: &str) -> State {
    let property = |name| {
        let mut properties = shown.lines().filter_map(|line| line.split_once('='));
        properties.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    };
    let activity = property("ActiveState");
    State {
        active: !["", "inactive", "failed"].contains(&activity),
        unsettled: activity.ends_with("ing"),
        stale: property("NeedDaemonReload") == "yes",
        enabled: property("UnitFileState") == "enabled",
        masked: property("UnitFileState").starts_with("masked"),
        pid: property("MainPID").parse().ok().filter(|&pid| pid != 0),
        last_exit: property("ExecMainStatus").parse().ok().filter(|&status| status != 0),
        status: property("StatusText").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_says_how_the_service_is() {
        let shown = "MainPID=4711\nStatusText=registered as a=b\nActiveState=active\n\
                     UnitFileState=enabled\n";
        let state = State {
            enabled: true,
            active: true,
            pid: Some(4711),
            status: "registered as a=b".to_owned(),
            ..State::default()
        };
        assert_eq!(systemd_state(shown), state);
        assert_eq!(systemd_state("ExecMainStatus=78\n").last_exit, Some(78));
        let shown =
            "MainPID=0\nExecMainStatus=0\nStatusText=\nActiveState=inactive\nUnitFileState=\n";
        assert_eq!(systemd_state(shown), State::default());
    }
}
