//! One session with the gateway: the requests in flight, and whether the gateway has accepted this
//! agent.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tungstenite::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;

use super::handover::Handover;
use crate::config::{Config, Token};
use crate::logging::{PEER, SESSION};
use crate::requests::dispatch::{Started, dispatch};
use crate::requests::handlers::register::{self, Refusal};
use crate::requests::in_flight::InFlight;
use crate::requests::{Asked, Context, refuse};
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade::told::Told;
use crate::wire::dial;
use crate::wire::rpc::{self, Incoming, Request, Response};
use crate::wire::session::{Lost, Session};

pub struct Connected {
    pub session: Session,
    /// The first session of this process has number 1.
    pub number: u64,
    pub since: Instant,
    /// When the gateway acknowledged `register`.
    pub registered: Option<Instant>,
    in_flight: InFlight,
    /// The gateway asked, in place of accepting the agent, not to be dialed earlier.
    retry_after: Option<Duration>,
}

/// What a turn of a session can come to.
pub enum News {
    Message(Utf8Bytes),
    /// The gateway has not acknowledged `register` in time; in words.
    RegisterOverdue(String),
    Lost(Lost),
}

/// The gateway's answer to `register`.
pub type Registration = Result<(), Refusal>;

/// How long an agent waits whose instance id another agent uses too: they would evict each other.
const DOUBLED: Duration = Duration::from_secs(60);

/// How long a session lived, for people.
pub struct Lived(pub Duration);

/// Why there is no session.
pub enum Failure {
    /// A signal asked the program to end.
    Stopped,
    Dial(dial::Failure),
    Socket(io::Error),
}

impl Connected {
    /// Dials the gateway and begins a session, the `number`th, with `register`.
    ///
    /// # Errors
    /// [`Failure::Socket`] when the new session's socket has no local address any more.
    pub fn dial(
        number: u64,
        config: &Config,
        upgrade: &Told,
        waiter: &Rc<Waiter>,
        children: &Rc<Children>,
    ) -> Result<Connected, Failure> {
        let started = Instant::now();
        let dialed = dial::dial(config, waiter, children).map_err(|error| match error {
            dial::Error::Stopped => Failure::Stopped,
            dial::Error::Failed(failure) => Failure::Dial(failure),
        })?;
        let now = Instant::now();
        let mut session = Session::new(dialed.websocket, now);
        let ip = session.local_address().map_err(Failure::Socket)?;
        let took = now.saturating_duration_since(started).as_millis();
        let (gateway, address) = (config.gateway.authority(), dialed.address.to_string());
        let via = if gateway == address { String::new() } else { format!(" ({address})") };
        log::info!(target: SESSION, "connected to {gateway}{via} in {took} ms");
        session.send(register::request(config, ip, upgrade));
        let in_flight = InFlight::default();
        Ok(Connected {
            session,
            number,
            since: now,
            registered: None,
            in_flight,
            retry_after: None,
        })
    }

    /// Moves the requests and the session on. Sleeps if there is nothing to do, until `others` at
    /// the latest.
    pub fn turn(&mut self, now: Instant, others: Option<Instant>, waiter: &Waiter) -> Option<News> {
        let overdue = self.since + register::PATIENCE;
        if self.session.is_closing() {
            self.in_flight = InFlight::default();
        } else if self.registered.is_none() && now >= overdue {
            let seconds = register::PATIENCE.as_secs();
            return Some(News::RegisterOverdue(format!("no answer within {seconds} s")));
        }
        let again = self.in_flight.turn(now, &mut self.session);
        let awaited = self.registered.is_none() && !self.session.is_closing();
        let deadlines = [
            others,
            again.then_some(now),
            Some(self.session.deadline()),
            self.in_flight.deadline(now),
            awaited.then_some(overdue),
        ];
        waiter.set_deadline(deadlines.into_iter().flatten().min());
        match self.session.turn(now) {
            Ok(message) => message.map(News::Message),
            Err(why) => Some(News::Lost(why)),
        }
    }

    /// Takes a message from the gateway. Returns the answer to `register`, if the message is it.
    pub fn receive(
        &mut self,
        text: &str,
        context: Context,
        handover: &mut Handover,
    ) -> Option<Registration> {
        log::debug!(target: PEER, "received {} bytes", text.len());
        match rpc::parse(text) {
            Ok(Incoming::Request(request)) => self.start(request, context, handover),
            Ok(Incoming::Response(response)) => return self.answered(&response, context.now),
            Err(error) => {
                log::info!(target: PEER, "refused a message: {error}");
                self.session.send(rpc::error(None, &error));
            }
        }
        None
    }

    fn start(&mut self, request: Request, context: Context, handover: &mut Handover) {
        match dispatch(&request, context, &mut self.in_flight, handover.is_under_way()) {
            Ok(Started::Work(work)) => self.in_flight.add(request, work, context.now),
            Ok(Started::Follow(follow)) => {
                self.in_flight.followers.add(request, *follow, context.now);
            }
            Ok(Started::Upgrade(upgrade)) => handover.begin(upgrade, self.number),
            Ok(Started::Done(answer)) => {
                Asked::new(request, context.now).answer(context.now, &mut self.session, Ok(answer));
            }
            Err(error) => refuse(request, context.now, &mut self.session, error),
        }
    }

    fn answered(&mut self, response: &Response, now: Instant) -> Option<Registration> {
        if self.registered.is_some() || !register::answers(response) {
            log::debug!(target: PEER, "ignored a response: the agent has made no such request");
            return None;
        }
        let registration = register::acknowledged(response);
        self.registered = registration.is_ok().then_some(now);
        self.retry_after = registration.as_ref().err().and_then(|refusal| refusal.retry_after);
        Some(registration)
    }

    /// Closes the session of a gateway that did not accept this agent.
    pub fn refuse(&mut self, now: Instant, why: &str, token: &Token) {
        let why = format!(
            "the gateway did not accept this agent (register: {why}); check VMKIT_AGENT_TOKEN and \
             VMKIT_GATEWAY_URL"
        );
        self.leave(now, CloseCode::Policy, token.blot_out(why), Session::DRAIN);
    }

    /// How long the next dial must wait at least, now that this session is over.
    pub fn patience(&self, why: &Lost) -> Option<Duration> {
        if why.is_doubled() { Some(DOUBLED) } else { self.retry_after }
    }

    /// Ends the requests in flight and closes the session: `limit` is how long the gateway has to
    /// answer the close frame.
    pub fn leave(&mut self, now: Instant, code: CloseCode, why: String, limit: Duration) {
        self.in_flight = InFlight::default();
        self.session.close(now, code, why, limit);
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0, seconds) => write!(f, "{seconds} s"),
            (0, 0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (0, hours, minutes, _) => write!(f, "{hours} h {minutes} min"),
            (days, hours, ..) => write!(f, "{days} d {hours} h"),
        }
    }
}
