//! The gateway's acknowledgement of `register` confirms the binary on probation. Then the guard is
//! called off, and roll-backs are reported to the gateway.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::run::job::{Captured, Children, Progress};
use crate::upgrade::probation::{self, Probation};
use crate::upgrade::told::Told;
use crate::wire::rpc;
use crate::wire::session::Session;

/// How long the command that calls off the guard may take.
const CALL_OFF: Duration = Duration::from_secs(10);

pub struct Confirmation {
    probation: Probation,
    /// The command that calls off the guard, while it runs.
    call_off: Option<Captured>,
    /// The notifications about roll-backs are in this session's outbox.
    reporting: bool,
}

impl Confirmation {
    /// Takes over what earlier processes have left of an upgrade.
    ///
    /// # Errors
    /// When this binary was rolled back and the previous one can't be executed.
    pub fn on_start(children: &Rc<Children>) -> io::Result<Confirmation> {
        let probation = probation::on_start(children)?;
        Ok(Confirmation { probation, call_off: None, reporting: false })
    }

    /// For the status: what to run if this binary is on trial and does not work.
    pub fn advice(&self) -> Option<String> {
        let trial = self.probation.trial()?;
        Some(format!("on trial; if it fails: sudo {} doctor", trial.previous().display()))
    }

    /// What `register` tells of trials and roll-backs.
    pub fn told(&self) -> Told<'_> {
        self.probation.told()
    }

    /// The gateway has accepted this agent.
    pub fn accepted(&mut self, now: Instant, session: &mut Session) {
        self.probation.accepted(now);
        for rolled_back in self.probation.unreported() {
            session.send(rpc::notification("upgrade_rolled_back", &rolled_back.report()));
            self.reporting = true;
        }
    }

    /// The gateway has answered `register` and not accepted this agent.
    pub fn refused(&mut self) {
        self.probation.refused();
    }

    /// Whether the output of the command that calls off the guard wakes the loop.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        self.call_off.as_mut().map_or(Ok(()), |job| job.listen(listening))
    }

    /// When the next turn is due even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let call_off = self.call_off.as_ref().map(Captured::deadline);
        self.probation.deadline().into_iter().chain(call_off).min()
    }

    /// Moves on as far as it goes without waiting. `session` is the current session, if any.
    pub fn turn(&mut self, now: Instant, session: Option<&Session>, children: &Rc<Children>) {
        let ended = self.call_off.as_mut().map(|job| job.turn(now));
        if !matches!(ended, None | Some(Progress::Running)) {
            self.call_off = None;
        }
        if let Some(confirmed) = self.probation.turn(now) {
            log::info!("upgrade to {}: confirmed by the gateway", confirmed.version);
            self.call_off = confirmed.call_off.and_then(|command| {
                let (program, arguments) = command.split_first()?;
                let job = children.start(program.as_ref(), arguments, now + CALL_OFF);
                let warn = |error: &io::Error| {
                    log::warn!("can't call off the guard: {program:?}: {error}")
                };
                job.map(Captured::new).inspect_err(warn).ok()
            });
        }
        // A report that was lost with its session is sent again in the next session.
        match session.filter(|session| self.reporting && !session.is_closing()) {
            None => self.reporting = false,
            Some(session) if session.has_sent_all() => {
                self.reporting = false;
                self.probation.mark_reported();
            }
            Some(_) => {}
        }
    }
}
