//! From an upgrade that was asked for to the process that comes after this one: the upgrader runs,
//! its answer leaves, the session is closed, the service restarted.
//!
//! The agent keeps serving until the answer has left. What comes after the restart, the
//! probation, is for the new process and for the guard.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::logging::PEER;
use crate::requests::handlers::agent_upgrade::{Ended, Upgrade};
use crate::run::job::{Captured, Children, Progress};
use crate::wire::session::Session;

/// How long the answer may take to leave.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a command of ours may take.
const COMMAND: Duration = Duration::from_secs(30);

#[derive(Default)]
pub enum Succession {
    #[default]
    None,
    Upgrading {
        upgrade: Box<Upgrade>,
        /// The session that it was asked for in.
        session: u64,
    },
    /// The new binary is installed, and the answer on its way.
    Answering { until: Instant },
    /// The session is being closed.
    Leaving,
    /// The upgrader was ended, and another puts away what it left.
    CleaningUp(Captured),
    /// The command that is to end this process runs, or has run.
    Restarting(Captured),
}

/// What the loop has to do for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Close the session: this process is about to be replaced.
    Leave,
    /// There is no session any more: restart.
    Restart,
}

impl Succession {
    pub fn is_under_way(&self) -> bool {
        !matches!(self, Succession::None)
    }

    /// Whether this process has begun to make way.
    pub fn is_leaving(&self) -> bool {
        matches!(self, Succession::Leaving)
    }

    /// Whether the upgrader's output wakes the loop.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        match self {
            Succession::Upgrading { upgrade, .. } => upgrade.listen(listening),
            _ => Ok(()),
        }
    }

    /// When the next turn is due even if no child says anything.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Succession::None | Succession::Leaving => None,
            Succession::Upgrading { upgrade, .. } => Some(upgrade.deadline()),
            Succession::Answering { until } => Some(*until),
            Succession::CleaningUp(job) | Succession::Restarting(job) => Some(job.deadline()),
        }
    }

    /// Moves on as far as it goes without waiting. `session` is the one there is, and its number.
    pub fn turn(
        &mut self,
        now: Instant,
        session: Option<(&mut Session, u64)>,
        children: &Rc<Children>,
    ) -> Option<Step> {
        let (mut session, number) = session.unzip();
        if let Succession::Upgrading { upgrade, session: asked } = self {
            let asker = session.as_deref_mut().filter(|_| number == Some(*asked));
            let mut asker = asker.filter(|session| !session.is_closing());
            let ended = upgrade.turn(now, asker.as_deref_mut())?;
            *self = finish(&ended, now, children);
            if let (Some(session), Some(answer)) = (asker, ended.message()) {
                session.send(answer);
            }
        }
        match self {
            Succession::None | Succession::Upgrading { .. } => None,
            Succession::Answering { until } => match session {
                Some(session) if !session.has_sent_all() && now < *until => None,
                Some(_) => {
                    *self = Succession::Leaving;
                    Some(Step::Leave)
                }
                None => Some(Step::Restart),
            },
            Succession::Leaving => session.is_none().then_some(Step::Restart),
            Succession::CleaningUp(job) => {
                if !matches!(job.turn(now), Progress::Running) {
                    *self = Succession::None;
                }
                None
            }
            Succession::Restarting(command) => {
                let failure = match command.turn(now) {
                    Progress::Running => return None,
                    Progress::Ended(status) if status.success() => None,
                    Progress::Ended(status) => {
                        let words = String::from_utf8_lossy(&command.output().stderr);
                        let words = words.lines().last().unwrap_or("it said nothing").trim();
                        Some(format!("{status}: {}", words.escape_debug()))
                    }
                    Progress::TimedOut => Some(format!("not done in {} s", COMMAND.as_secs())),
                };
                if let Some(failure) = failure {
                    restart_failed(&failure);
                }
                *self = Succession::None;
                None
            }
        }
    }

    /// Runs the command that is to end this process.
    pub fn restart(&mut self, command: &[String], now: Instant, children: &Rc<Children>) {
        log::info!("restarting: {}", command.join(" "));
        *self = Succession::None;
        let Some((program, arguments)) = command.split_first() else { return };
        match children.start(program.as_ref(), arguments, now + COMMAND) {
            Ok(mut job) => {
                // A supervisor that it starts is to stay.
                job.leave_group();
                *self = Succession::Restarting(Captured::new(job));
            }
            Err(error) => restart_failed(&error.to_string()),
        }
    }
}

/// Logs how it went, and says what is next.
fn finish(ended: &Ended, now: Instant, children: &Rc<Children>) -> Succession {
    match &ended.outcome {
        Ok(()) => Succession::Answering { until: now + ANSWER },
        Err(error) => {
            // A gateway can have upgrades fail in a loop.
            let version = &ended.version;
            log::error!(target: PEER, "upgrade to {version}: given up: {error} ({})", error.code());
            if ended.cleaned_up {
                return Succession::None;
            }
            match children.start_self(&["upgrade", "--clean-up"], now + COMMAND) {
                Ok(job) => Succession::CleaningUp(Captured::new(job)),
                Err(error) => {
                    log::error!("upgrade to {}: can't clean up: {error}", ended.version);
                    Succession::None
                }
            }
        }
    }
}

fn restart_failed(why: &str) {
    log::error!(
        "the restart failed ({why}); the new binary is installed but does not run: restart the \
         service by hand, or set VMKIT_RESTART_CMD"
    );
}
