//! The loop. One event at a time: `next_event` selects it, `handle` consumes it. An upgrade may
//! outlive the session it was asked for in. Between two sessions lies the backoff's sleep.

mod event;
mod connected;
mod handover;
mod confirmation;
mod retries;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::host::init::REGISTERED;
use crate::host::version;
use crate::logging::{self, SESSION};
use crate::requests::Context;
use crate::run::job::Children;
use crate::run::notify::Manager;
use crate::run::wait::Waiter;
use crate::wire::dial;
use crate::wire::session::Lost;
use confirmation::Confirmation;
use connected::{Connected, Failure, Lived, News};
use event::{Event, Link};
use handover::{Handover, Step};
use retries::Retries;

pub use handover::Ending;

/// How long a restart may take to end this process; after that the agent dials again.
const RESTART: Duration = Duration::from_secs(30);

pub struct Agent {
    config: Config,
    waiter: Rc<Waiter>,
    manager: Rc<Manager>,
    children: Rc<Children>,
    retries: Retries,
    link: Link,
    /// How many sessions there have been.
    sessions: u64,
    handover: Handover,
    confirmation: Confirmation,
    /// Set when the program is to end; the session is still being closed.
    ending: Option<Ending>,
}

impl Agent {
    /// Takes over what earlier processes have left of an upgrade.
    ///
    /// # Errors
    /// When the operating system gives no epoll instance or signal handler, or when this binary was
    /// rolled back and the previous one can't be executed.
    pub fn new(mut config: Config) -> io::Result<Agent> {
        let waiter = Waiter::new()?;
        let manager = Rc::new(Manager::from_environment(Instant::now()));
        let watchdog = Rc::clone(&manager);
        waiter.before_each_sleep(move |now| watchdog.feed(now));
        let environment = std::mem::take(&mut config.environment);
        let children = Children::new(Rc::clone(&waiter), environment);
        Ok(Agent {
            confirmation: Confirmation::on_start(&children)?,
            handover: Handover::new(&config),
            children,
            waiter,
            manager,
            config,
            retries: Retries::default(),
            link: Link::Down { until: Instant::now() },
            sessions: 0,
            ending: None,
        })
    }

    /// Serves the gateway until a signal or an upgrade ends it.
    ///
    /// # Errors
    /// When the operating system does not let the program wait.
    pub fn run(mut self) -> io::Result<Ending> {
        let (config, version) = (&self.config, version::line());
        let (gateway, instance) = (&config.gateway, &config.instance_id);
        log::info!("{version} started: gateway {gateway}, instance {instance}");
        if let Some(problem) = config.upgrade.proxy_problem() {
            log::warn!("{problem}");
        }
        self.manager.ready();
        loop {
            let event = self.next_event()?;
            // The time is read again: finding the event may have taken a sleep.
            if let Some(ending) = self.handle(Instant::now(), event) {
                match &ending {
                    Ending::Stopped => log::info!("stopped"),
                    Ending::Succeeded(program) => log::info!("restarting: {}", program.display()),
                }
                return Ok(ending);
            }
        }
    }

    fn next_event(&mut self) -> io::Result<Event> {
        loop {
            let now = Instant::now();
            self.waiter.look()?;
            self.children.reap();
            if self.waiter.stop_signal().is_some() && self.ending.is_none() {
                return Ok(Event::Stop);
            }
            let connected = self.link.connected();
            self.confirmation.turn(now, connected.as_ref().map(|it| &it.session), &self.children);
            let session = connected.map(|it| (&mut it.session, it.number));
            if let Some(step) = self.handover.turn(now, session, &self.children) {
                return Ok(Event::Handover(step));
            }
            let others = [self.handover.deadline(), self.confirmation.deadline()];
            let others = others.into_iter().flatten().min();
            match &mut self.link {
                Link::Down { until } if now >= *until => return Ok(Event::Dial),
                Link::Down { until } => {
                    self.waiter.set_deadline(others.into_iter().chain([*until]).min());
                    self.waiter.wait()?;
                }
                Link::Up(connected) => {
                    if let Some(news) = connected.turn(now, others, &self.waiter) {
                        return Ok(Event::Session(news));
                    }
                }
            }
        }
    }

    /// Returns how the program is to end, once it is.
    fn handle(&mut self, now: Instant, event: Event) -> Option<Ending> {
        match event {
            Event::Stop => return self.stop(now),
            Event::Dial => return self.dial(),
            Event::Session(News::Message(text)) => self.receive(now, &text),
            Event::Session(News::RegisterOverdue(why)) => self.refused(now, &why),
            Event::Session(News::Lost(why)) => return self.lost(now, &why),
            Event::Handover(Step::Leave) => self.link.leave(now, "the agent is being upgraded"),
            Event::Handover(Step::Restart) => {
                self.link = Link::Down { until: now + RESTART };
                return self.handover.restart(now, &self.children);
            }
        }
        None
    }

    fn stop(&mut self, now: Instant) -> Option<Ending> {
        log::info!("stopping: {}", self.waiter.stop_signal().unwrap_or("a signal"));
        self.manager.stopping();
        self.ending = Some(Ending::Stopped);
        self.link.leave(now, "the agent is stopping");
        match self.link {
            Link::Down { .. } => self.ending.clone(),
            Link::Up(_) => None,
        }
    }

    fn dial(&mut self) -> Option<Ending> {
        self.status(&format!("connecting to {}", self.config.gateway.authority()));
        // A dial waits for its own child alone. The output of others stays in their pipes meanwhile.
        self.listen(false);
        let number = self.sessions + 1;
        let told = self.confirmation.told();
        let connected = Connected::dial(number, &self.config, &told, &self.waiter, &self.children);
        self.listen(true);
        let now = Instant::now();
        match connected {
            Ok(connected) => {
                self.sessions = number;
                self.link = Link::Up(Box::new(connected));
            }
            Err(Failure::Stopped) => return self.stop(now),
            Err(Failure::Dial(failure)) => self.dial_failed(now, &failure),
            Err(Failure::Socket(error)) => {
                let failure = format!("the session's socket failed: {error}");
                self.back_off(now, &failure, &failure, None);
            }
        }
        None
    }

    fn listen(&mut self, listening: bool) {
        let handover = self.handover.listen(listening);
        if let Err(error) = handover.and(self.confirmation.listen(listening)) {
            log::error!("can't listen to a child: {error}");
        }
    }

    fn dial_failed(&mut self, now: Instant, failure: &dial::Failure) {
        let corrected = if failure.unauthorized { self.config.corrected_token() } else { Ok(None) };
        let why_not = corrected.as_ref().err().map_or(String::new(), |why| format!("; {why}"));
        let kind = format!("can't connect: {failure}{why_not}");
        self.back_off(now, &kind, &kind, failure.retry_after);
        if let Ok(Some(token)) = corrected {
            logging::hide(&token);
            self.config.token = token;
            log::info!("token reloaded from {}", self.config.token_source);
        }
    }

    fn receive(&mut self, now: Instant, text: &str) {
        let Some(connected) = self.link.connected() else { return };
        let context = Context { now, config: &self.config, children: &self.children };
        match connected.receive(text, context, &mut self.handover) {
            Some(Ok(())) => {
                self.retries.registered();
                let who = &self.config.instance_id;
                let registered = format!("{REGISTERED}{who}, version {}", version::VERSION);
                log::info!(target: SESSION, "{registered}");
                self.manager.status(&registered);
                self.confirmation.accepted(now, &mut connected.session);
            }
            Some(Err(refusal)) => {
                self.confirmation.refused();
                self.refused(now, &refusal.why);
            }
            None => {}
        }
    }

    fn refused(&mut self, now: Instant, why: &str) {
        if let Some(connected) = self.link.connected() {
            connected.refuse(now, why, &self.config.token);
        }
    }

    fn lost(&mut self, now: Instant, why: &Lost) -> Option<Ending> {
        let Link::Up(connected) = &self.link else { return self.ending.clone() };
        let advice = self.retries.session_ended(connected.registered, now, why);
        if self.handover.is_leaving() {
            log::info!("closed the session for the upgrade");
            self.link = Link::Down { until: now + RESTART };
        } else if self.ending.is_none() {
            let lived = Lived(now.saturating_duration_since(connected.since));
            let failure = format!("lost the session after {lived}: {why}{advice}");
            self.back_off(now, &why.to_string(), &failure, connected.patience(why));
        }
        self.ending.clone()
    }

    /// What `systemctl status` shows.
    fn status(&self, text: &str) {
        self.manager.status(&match self.confirmation.advice() {
            Some(advice) => format!("{text}; {advice}"),
            None => text.to_owned(),
        });
    }

    /// The one way from a failure to the next attempt.
    fn back_off(&mut self, now: Instant, kind: &str, failure: &str, retry_after: Option<Duration>) {
        let (line, until) = self.retries.failed(now, kind, failure, retry_after);
        // The gateway may have sent the token back in its words.
        self.status(&self.config.token.blot_out(line));
        self.link = Link::Down { until };
    }
}
