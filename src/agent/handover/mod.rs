//! An upgrade's way through the loop: the upgrader runs, its answer leaves, the session is closed,
//! the service restarted.
//!
//! ```text
//! Idle -> Upgrading -> Answering -> Leaving -> Restarting -> Idle, if the restart failed
//!             |                                    or the end of this process
//!             +-> Idle, if the upgrade failed, or CleaningUp -> Idle, if the upgrader was killed
//! ```
//!
//! The agent keeps serving until the answer has left. The probation comes after the restart: it is
//! for the new process and for the guard.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::host::restart::Restart;
use crate::logging::PEER;
use crate::requests::handlers::agent_upgrade::{Ended, Upgrade};
use crate::run::command;
use crate::run::job::{Captured, Children, Progress};
use crate::upgrade;
use crate::wire::session::Session;

/// How long the answer may take to leave.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the restart command and the clean-up may take.
const COMMAND: Duration = Duration::from_secs(30);

pub struct Handover {
    stage: Stage,
    /// The configured command; without one, the init system's.
    restart_command: Option<String>,
    /// Where this binary was installed when it was started.
    installed: Option<PathBuf>,
}

enum Stage {
    /// There is no upgrade.
    Idle,
    /// The upgrader runs. `session` is the number of the session that asked for the upgrade.
    Upgrading { upgrade: Box<Upgrade>, session: u64 },
    /// The new binary is installed, and the answer leaves, until this time at the latest.
    Answering { until: Instant },
    /// The session is being closed.
    Leaving,
    /// The upgrader was killed, and another process removes what it left.
    CleaningUp(Captured),
    /// The restart command runs, which is to end this process.
    Restarting { command: String, job: Captured },
}

/// What the loop has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Close the session: this process is about to be replaced.
    Leave,
    /// The session is gone: call [`Handover::restart`].
    Restart,
}

/// Why the loop ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A signal, or an upgrade whose new binary a supervisor starts.
    Stopped,
    /// The program at this path replaces this process.
    Succeeded(PathBuf),
}

impl Handover {
    pub fn new(config: &Config) -> Handover {
        let restart_command = config.upgrade.restart_command.clone();
        Handover { stage: Stage::Idle, restart_command, installed: upgrade::installed().ok() }
    }

    /// An upgrade was started, by a request of the session of this number.
    pub fn begin(&mut self, upgrade: Box<Upgrade>, session: u64) {
        self.stage = Stage::Upgrading { upgrade, session };
    }

    /// Whether another upgrade has to wait.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Whether the session is being closed for the upgrade.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving)
    }

    /// Whether the output of the child, if there is one, wakes the loop.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        match &mut self.stage {
            Stage::Idle | Stage::Answering { .. } | Stage::Leaving => Ok(()),
            Stage::Upgrading { upgrade, .. } => upgrade.listen(listening),
            Stage::CleaningUp(job) | Stage::Restarting { job, .. } => job.listen(listening),
        }
    }

    /// When the next turn is due even if no child says anything.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Idle | Stage::Leaving => None,
            Stage::Upgrading { upgrade, .. } => Some(upgrade.deadline()),
            Stage::Answering { until } => Some(*until),
            Stage::CleaningUp(job) | Stage::Restarting { job, .. } => Some(job.deadline()),
        }
    }

    /// Moves on as far as it goes without waiting. `session` is the current session, and its
    /// number.
    pub fn turn(
        &mut self,
        now: Instant,
        session: Option<(&mut Session, u64)>,
        children: &Rc<Children>,
    ) -> Option<Step> {
        let (mut session, number) = session.unzip();
        if let Stage::Upgrading { upgrade, session: asked } = &mut self.stage {
            let asker = session.as_deref_mut().filter(|_| number == Some(*asked));
            let mut asker = asker.filter(|session| !session.is_closing());
            let ended = upgrade.turn(now, asker.as_deref_mut())?;
            self.stage = after_upgrader(&ended, now, children);
            if let (Some(session), Some(answer)) = (asker, ended.message()) {
                session.send(answer);
            }
        }
        match &mut self.stage {
            Stage::Idle | Stage::Upgrading { .. } => None,
            Stage::Answering { until } => match session {
                Some(session) if !session.has_sent_all() && now < *until => None,
                Some(_) => {
                    self.stage = Stage::Leaving;
                    Some(Step::Leave)
                }
                None => Some(Step::Restart),
            },
            Stage::Leaving => session.is_none().then_some(Step::Restart),
            Stage::CleaningUp(job) => {
                if !matches!(job.turn(now), Progress::Running) {
                    self.stage = Stage::Idle;
                }
                None
            }
            Stage::Restarting { command, job } => {
                let progress = job.turn(now);
                let ended = command::outcome(&progress, job.output(), COMMAND)?;
                if let Err(why) = ended {
                    restart_failed(command, &why);
                }
                self.stage = Stage::Idle;
                None
            }
        }
    }

    /// Makes way for the new binary: runs the restart command, or says how this process is to end.
    pub fn restart(&mut self, now: Instant, children: &Rc<Children>) -> Option<Ending> {
        self.stage = Stage::Idle;
        match Restart::find(self.restart_command.as_deref()) {
            Restart::Command(command) => {
                self.run(&command, now, children);
                None
            }
            Restart::Exit => Some(Ending::Stopped),
            Restart::InPlace => {
                Some(self.installed.take().map_or(Ending::Stopped, Ending::Succeeded))
            }
        }
    }

    fn run(&mut self, command: &[String], now: Instant, children: &Rc<Children>) {
        let Some((program, arguments)) = command.split_first() else { return };
        let command = command.join(" ");
        log::info!("restarting: {command}");
        match children.start(program.as_ref(), arguments, now + COMMAND) {
            Ok(mut job) => {
                // A supervisor that the command starts must stay.
                job.leave_group();
                self.stage = Stage::Restarting { command, job: Captured::new(job) };
            }
            Err(error) => restart_failed(&command, &error.to_string()),
        }
    }
}

/// Logs a failed upgrade, and says what follows the upgrader's end.
fn after_upgrader(ended: &Ended, now: Instant, children: &Rc<Children>) -> Stage {
    let Err(error) = &ended.outcome else { return Stage::Answering { until: now + ANSWER } };
    let version = &ended.version;
    // Counted as the gateway's: it can make upgrades fail in a loop.
    log::error!(target: PEER, "upgrade to {version}: given up: {error} ({})", error.code().number());
    if ended.cleaned_up {
        return Stage::Idle;
    }
    match children.start_self(&["upgrade", "--clean-up"], now + COMMAND) {
        Ok(job) => Stage::CleaningUp(Captured::new(job)),
        Err(error) => {
            log::error!("upgrade to {version}: can't clean up: {error}");
            Stage::Idle
        }
    }
}

fn restart_failed(command: &str, why: &str) {
    log::error!(
        "the restart failed ({why}); the new version is installed but does not run; run as root, \
         or set VMKIT_RESTART_CMD: {command}"
    );
}

#[cfg(test)]
mod tests;
