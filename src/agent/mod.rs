//! The loop. One event at a time: `next_event` finds it, `handle` consumes it. Sessions come and
//! go, an upgrade outlives them; between any two sessions lies one sleep, the backoff's.

mod backoff;
mod connected;
mod handover;
mod repeats;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;

use crate::agent::backoff::Backoff;
use crate::agent::connected::{Connected, Lived, News};
use crate::agent::handover::{Step, Succession};
use crate::agent::repeats::Repeats;
use crate::config::Config;
use crate::host::restart::Restart;
use crate::host::version;
use crate::logging::{self, PEER, SESSION};
use crate::requests::handlers::register;
use crate::run::job::{Captured, Children, Progress};
use crate::run::notify::Manager;
use crate::run::wait::Waiter;
use crate::upgrade;
use crate::upgrade::probation::{self, Probation};
use crate::wire::dial::{self, Failure};
use crate::wire::rpc::{self, Incoming, Response};
use crate::wire::session::{Lost, Session};

/// How long the last close frame may stay without an answer; the whole end takes a second at most.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long to wait for the end that a restart is to bring, before dialing again after all.
const RESTART: Duration = Duration::from_secs(30);
/// What is asked of others and not waited for has this long.
const ERRAND: Duration = Duration::from_secs(10);

pub struct Agent {
    config: Config,
    waiter: Rc<Waiter>,
    manager: Rc<Manager>,
    children: Rc<Children>,
    backoff: Backoff,
    repeats: Repeats,
    link: Link,
    /// How many sessions there have been.
    sessions: u64,
    /// Where this binary was installed when it was started.
    installed: Option<PathBuf>,
    succession: Succession,
    probation: Probation,
    errand: Option<Captured>,
    /// A roll-back's notification is on its way.
    reporting: bool,
    ending: Option<Ending>,
}

/// Why the loop is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A signal, or an upgrade whose new binary a supervisor starts.
    Stopped,
    /// The program at this path is to take this one's place.
    Succeeded(PathBuf),
}

/// What there is of a connection to the gateway.
enum Link {
    /// None, until then.
    Down {
        until: Instant,
    },
    Up(Box<Connected>),
}

/// What the loop wakes for.
enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// The backoff is over.
    Dial,
    Session(News),
    Succession(Step),
}

impl Agent {
    /// Takes stock of what the last process has left of an upgrade.
    ///
    /// # Errors
    /// When the operating system has no epoll instance or signal handler to give, or when this
    /// binary is given up and the previous one can't be executed.
    pub fn new(mut config: Config) -> io::Result<Agent> {
        let waiter = Waiter::new()?;
        let manager = Rc::new(Manager::from_environment(Instant::now()));
        waiter.answer_to(Rc::clone(&manager));
        let environment = std::mem::take(&mut config.environment);
        let children = Children::new(Rc::clone(&waiter), environment);
        Ok(Agent {
            probation: probation::on_start(&children)?,
            children,
            waiter,
            manager,
            config,
            backoff: Backoff::default(),
            repeats: Repeats::default(),
            link: Link::Down { until: Instant::now() },
            sessions: 0,
            installed: upgrade::installed().ok(),
            succession: Succession::None,
            errand: None,
            reporting: false,
            ending: None,
        })
    }

    /// Serves the gateway until SIGTERM, SIGINT or an upgrade.
    ///
    /// # Errors
    /// When the operating system won't let the program wait.
    pub fn run(mut self) -> io::Result<Ending> {
        let (config, version) = (&self.config, version::line());
        log::info!(
            "{version} started: gateway {}, instance {}",
            config.gateway,
            config.instance_id
        );
        self.manager.ready();
        loop {
            let event = self.next_event()?;
            // Finding it may have taken a sleep.
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
            if self.waiter.stopping() && self.ending.is_none() {
                return Ok(Event::Stop);
            }
            self.turn_errand(now);
            self.turn_probation(now);
            self.turn_report();
            let session = match &mut self.link {
                Link::Down { .. } => None,
                Link::Up(connected) => Some((&mut connected.session, self.sessions)),
            };
            if let Some(step) = self.succession.turn(now, session, &self.children) {
                return Ok(Event::Succession(step));
            }
            let others = [
                self.succession.deadline(),
                self.probation.deadline(),
                self.errand.as_ref().map(Captured::deadline),
            ];
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

    /// Why the program is to end, if it is.
    fn handle(&mut self, now: Instant, event: Event) -> Option<Ending> {
        match event {
            Event::Stop => return self.stop(now),
            Event::Dial => return self.dial(),
            Event::Session(News::Message(text)) => self.receive(now, &text),
            Event::Session(News::RegisterOverdue) => self.refused(now, "no answer within 10 s"),
            Event::Session(News::Lost(why)) => return self.lost(now, &why),
            Event::Succession(Step::Leave) => self.leave(now, "the agent is being upgraded"),
            Event::Succession(Step::Restart) => return self.restart(now),
        }
        None
    }

    fn stop(&mut self, now: Instant) -> Option<Ending> {
        log::info!("stopping on a signal");
        self.manager.stopping();
        self.ending = Some(Ending::Stopped);
        match self.link {
            Link::Down { .. } => self.ending.clone(),
            Link::Up(_) => {
                self.leave(now, "the agent is stopping");
                None
            }
        }
    }

    fn leave(&mut self, now: Instant, why: &str) {
        if let Link::Up(connected) = &mut self.link {
            connected.leave(now, CloseCode::Away, why.to_owned(), FAREWELL);
        }
    }

    /// Makes way for the binary that an upgrade has installed.
    fn restart(&mut self, now: Instant) -> Option<Ending> {
        self.link = Link::Down { until: now + RESTART };
        match Restart::find(self.config.upgrade.restart_command.as_deref()) {
            Restart::Command(command) => {
                self.succession.restart(&command, now, &self.children);
                None
            }
            Restart::Exit => Some(Ending::Stopped),
            Restart::InPlace => Some(match self.installed.take() {
                Some(installed) => Ending::Succeeded(installed),
                None => Ending::Stopped,
            }),
        }
    }

    fn dial(&mut self) -> Option<Ending> {
        let started = Instant::now();
        self.status(&format!("connecting to {}", self.config.gateway.authority()));
        self.listen_to_upgrade(false);
        let dialed = dial::dial(&self.config, &self.waiter, &self.children);
        self.listen_to_upgrade(true);
        let dialed = match dialed {
            Ok(dialed) => dialed,
            Err(dial::Error::Stopped) => return self.stop(started),
            Err(dial::Error::Failed(failure)) => {
                self.dial_failed(&failure);
                return None;
            }
        };
        let now = Instant::now();
        let took = now.saturating_duration_since(started).as_millis();
        match Connected::open(dialed, now, &self.config) {
            Ok((connected, address)) => {
                let gateway = self.config.gateway.authority();
                log::info!(target: SESSION, "connected to {gateway} ({address}) in {took} ms");
                self.link = Link::Up(Box::new(connected));
                self.sessions += 1;
            }
            Err(error) => {
                let failure = format!("the session's socket failed: {error}");
                self.back_off(now, &failure, &failure, None);
            }
        }
        None
    }

    /// A dial looks after no child but its own: what the upgrader says meanwhile waits.
    fn listen_to_upgrade(&mut self, listening: bool) {
        if let Err(error) = self.succession.listen(listening) {
            log::error!("can't listen to the upgrader: {error}");
        }
    }

    fn dial_failed(&mut self, failure: &Failure) {
        let corrected = if failure.unauthorized { self.config.corrected_token() } else { Ok(None) };
        let why_not = corrected.as_ref().err().map_or(String::new(), |why| format!("; {why}"));
        let kind = format!("can't connect: {failure}{why_not}");
        self.back_off(Instant::now(), &kind, &kind, failure.retry_after);
        if let Ok(Some(token)) = corrected {
            logging::hide(&token);
            self.config.token = token;
            log::info!("took another token from {}", self.config.token_source);
        }
    }

    fn receive(&mut self, now: Instant, text: &str) {
        let Link::Up(connected) = &mut self.link else { return };
        log::debug!(target: PEER, "received {} bytes", text.len());
        match rpc::parse(text) {
            Ok(Incoming::Request(request)) => {
                let Connected { session, flights, .. } = &mut **connected;
                let upgrading = self.succession.is_under_way();
                let upgrade =
                    flights.start(request, now, &self.config, &self.children, upgrading, session);
                if let Some(upgrade) = upgrade {
                    self.succession = Succession::Upgrading { upgrade, session: self.sessions };
                }
            }
            Ok(Incoming::Response(response)) => self.answered(now, &response),
            Err(error) => {
                log::info!(target: PEER, "refused a message: {error}");
                connected.session.send(rpc::error(None, &error));
            }
        }
    }

    /// A response: to `register`, or to nothing that was asked.
    fn answered(&mut self, now: Instant, response: &Response) {
        let Link::Up(connected) = &mut self.link else { return };
        if connected.registered.is_some() || !register::answers(response) {
            log::debug!(target: PEER, "ignored a response to nothing");
            return;
        }
        match register::acknowledged(response) {
            Ok(()) => {
                connected.registered = Some(now);
                self.repeats.clear();
                let who = &self.config.instance_id;
                let registered = format!("registered as {who}, version {}", version::VERSION);
                log::info!(target: SESSION, "{registered}");
                self.manager.status(&registered);
                self.probation.accepted(now);
                self.report_roll_backs();
            }
            Err(why) => {
                self.probation.refused();
                self.refused(now, &why);
            }
        }
    }

    /// Ends the guard's watch once the gateway has accepted this binary.
    fn turn_probation(&mut self, now: Instant) {
        let Some(confirmed) = self.probation.turn(now) else { return };
        log::info!("upgrade to {}: confirmed by the gateway", confirmed.version);
        self.errand = confirmed.call_off.and_then(|command| {
            let (program, arguments) = command.split_first()?;
            let job = self.children.start(program.as_ref(), arguments, now + ERRAND);
            job.map(Captured::new).inspect_err(|error| log::warn!("{program:?}: {error}")).ok()
        });
    }

    fn report_roll_backs(&mut self) {
        let Link::Up(connected) = &mut self.link else { return };
        for rolled_back in self.probation.unreported() {
            let report = rolled_back.report();
            connected.session.send(rpc::notification("upgrade_rolled_back", &report));
            self.reporting = true;
        }
    }

    /// What was lost with its session is sent again in the next.
    fn turn_report(&mut self) {
        match &self.link {
            Link::Down { .. } => self.reporting = false,
            Link::Up(connected) if connected.session.is_closing() => self.reporting = false,
            Link::Up(connected) if self.reporting && connected.session.has_sent_all() => {
                self.reporting = false;
                self.probation.mark_reported();
            }
            Link::Up(_) => {}
        }
    }

    fn turn_errand(&mut self, now: Instant) {
        let ended = self.errand.as_mut().map(|errand| errand.turn(now));
        if !matches!(ended, None | Some(Progress::Running)) {
            self.errand = None;
        }
    }

    fn refused(&mut self, now: Instant, why: &str) {
        let Link::Up(connected) = &mut self.link else { return };
        let why = format!(
            "register was not acknowledged: {why}; check VMKIT_AGENT_TOKEN and VMKIT_GATEWAY_URL"
        );
        let why = self.config.token.blot_out(why);
        connected.leave(now, CloseCode::Policy, why, Session::DRAIN);
    }

    fn lost(&mut self, now: Instant, why: &Lost) -> Option<Ending> {
        let Link::Up(connected) = &self.link else { return self.ending.clone() };
        let registered = connected.registered;
        self.backoff.session_ended(registered, now);
        if self.succession.is_leaving() {
            log::info!("left the session: {why}");
            self.link = Link::Down { until: now + RESTART };
        } else if self.ending.is_none() {
            let lived = Lived(now.saturating_duration_since(connected.since));
            let failure = format!("lost the session after {lived}: {why}");
            self.back_off(now, &why.to_string(), &failure, None);
        }
        self.ending.clone()
    }

    /// What `systemctl status` shows. While this binary is on trial, whom to ask if it does not work.
    fn status(&self, text: &str) {
        self.manager.status(&match self.probation.trial() {
            Some(trial) => format!("{text}; on trial, see {} doctor", trial.previous().display()),
            None => text.to_owned(),
        });
    }

    /// The one way from a failure to the next attempt.
    fn back_off(&mut self, now: Instant, kind: &str, failure: &str, retry_after: Option<Duration>) {
        let delay = self.backoff.delay(random(), retry_after);
        let next = format!("next try in {:.1} s", delay.as_secs_f64());
        // What the gateway has said may repeat it.
        self.status(&self.config.token.blot_out(format!("{failure}; {next}")));
        if let Some(failure) = self.repeats.say(now, kind, failure) {
            log::warn!(target: SESSION, "{failure}; {next}");
        }
        self.link = Link::Down { until: now + delay };
    }
}

/// For the jitter.
fn random() -> u32 {
    // Every state is seeded anew from the kernel's randomness; hashing nothing hands out the seed.
    (RandomState::new().build_hasher().finish() >> 32) as u32
}
