//! What a check works with: one agent, its connections and sessions, and the clocks of the protocol.
//! All checks of a lane have the same bench, one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::agent::Agent;
use super::arguments::Arguments;
use super::downloads::Downloads;
use super::fault::{Fault, Outcome, broken, unreached};
use super::rules::trials::Story;
use super::wire::dial::{Dial, Origin, Stream};
use super::wire::listener::{Connection, Listener};
use super::wire::message::Message;
use super::wire::session::Session;
use super::wire::trace::Trace;

/// What is added to each time of the protocol: the way through two busy processes.
pub const SLACK: Duration = Duration::from_millis(1500);
/// The token of agents that the kit starts.
pub const TOKEN: &str = "vmkit-check-token-5e1f";
/// The path and the query of the address that the agent is given.
pub const TARGET: &str = "/api/daemon?kit=1";

/// Shared by all benches of a run.
pub struct Shared {
    pub arguments: Arguments,
    pub downloads: Downloads,
    /// Every session of every lane, for the rules that hold all the time.
    pub sessions: Mutex<Vec<Session>>,
}

impl Shared {
    /// The token that the agent was given.
    pub fn token(&self) -> &str {
        match self.arguments.command.is_empty() {
            true => self.arguments.token.as_deref().unwrap_or_default(),
            false => TOKEN,
        }
    }
}

pub struct Bench {
    pub shared: Arc<Shared>,
    pub trace: Trace,
    pub listener: Listener,
    /// `None`: it was started by somebody else.
    agent: Option<Agent>,
    folder: PathBuf,
    tls: Option<TlsAcceptor>,
    current: Option<Session>,
    /// How often the agent's process was started by this bench.
    starts: u32,
    /// Whether its process has just been started: its first dial is on the way.
    is_new: bool,
    /// What the checks of upgrades have seen together.
    pub story: Option<Outcome<Arc<Story>>>,
}

impl Bench {
    pub fn with_agent(
        shared: Arc<Shared>,
        trace: Trace,
        listener: Listener,
        agent: Agent,
    ) -> Bench {
        let url = format!("ws://{}{TARGET}", listener.address);
        agent.set("VMKIT_GATEWAY_URL", Some(&url));
        agent.set("VMKIT_AGENT_TOKEN", Some(TOKEN));
        let folder = agent.folder().to_owned();
        let (agent, tls, current, starts, is_new, story) =
            (Some(agent), None, None, 0, false, None);
        Bench { shared, trace, listener, agent, folder, tls, current, starts, is_new, story }
    }

    pub fn waiting(
        shared: Arc<Shared>,
        trace: Trace,
        listener: Listener,
        folder: PathBuf,
        tls: Option<TlsAcceptor>,
    ) -> Bench {
        let (agent, current, starts, is_new, story) = (None, None, 0, false, None);
        Bench { shared, trace, listener, agent, folder, tls, current, starts, is_new, story }
    }

    /// A time of the protocol, by the clocks of this agent.
    pub fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.shared.arguments.clock_scale)
    }

    /// The same and what is added to it: for something that has to have happened by then.
    pub fn by(&self, seconds: f64) -> Duration {
        self.time(seconds) + SLACK
    }

    /// The stand-in's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The agent as a process.
    pub fn agent(&self) -> Outcome<&Agent> {
        self.agent.as_ref().ok_or(Fault::Unreached(
            "the kit has to start the agent for this: gateway check -- PROGRAM".to_owned(),
        ))
    }

    /// Starts the agent anew, without anything that it remembers in memory, such as its back-off.
    pub async fn restart(&mut self) -> Outcome {
        self.leave();
        self.agent()?.kill();
        // Its last connection may still be on the way here.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.listener.clear();
        self.starts += 1;
        self.is_new = true;
        let fault = |error| Fault::Kit(format!("the agent can't be started: {error}"));
        self.agent()?.restart().map_err(fault)
    }

    /// Ends the session that is there.
    pub fn leave(&mut self) {
        if let Some(session) = self.current.take() {
            session.drop_connection();
        }
    }

    /// The next connection, as it comes.
    pub async fn connection(&mut self, within: Duration) -> Outcome<Connection> {
        match self.listener.next(within).await {
            Some(connection) => Ok(connection),
            None => {
                unreached(format!("the agent did not dial within {:.1} s", within.as_secs_f64()))
            }
        }
    }

    /// The upgrade request of the next connection.
    pub async fn dial_within(&mut self, within: Duration) -> Outcome<Dial> {
        let Connection { stream, peer, number, at } = self.connection(within).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.accept(stream).await?),
            None => Box::new(stream),
        };
        let origin = Origin { peer, number, at };
        Ok(Dial::read(stream, origin, self.by(20.0), self.trace.clone()).await?)
    }

    /// The next upgrade request of the same process, after the end of its session. Its back-off may have
    /// grown by what other checks have done.
    pub async fn redial(&mut self) -> Outcome<Dial> {
        self.dial_within(self.by(62.0)).await
    }

    /// An upgrade request that is not answered yet. An agent of the kit is started anew for it.
    pub async fn dial(&mut self) -> Outcome<Dial> {
        self.leave();
        // A start takes longer than a shortened back-off.
        let is_patient = self.shared.arguments.clock_scale < 0.5 && self.starts > 0;
        if self.agent.is_none() {
            return self.dial_within(self.by(70.0)).await;
        }
        let is_new = std::mem::take(&mut self.is_new);
        if is_patient
            && !is_new
            && let Ok(dial) = self.dial_within(Duration::from_millis(250)).await
        {
            return Ok(dial);
        }
        if !is_new {
            self.restart().await?;
            self.is_new = false;
        }
        let within = self.by(2.0) + Duration::from_secs(8);
        let dial = self.dial_within(within).await;
        dial.map_err(|fault| match (fault, &self.agent) {
            (Fault::Unreached(why), Some(agent)) => {
                Fault::Unreached(format!("{why}; its log ends in: {}", agent.last_words()))
            }
            (fault, _) => fault,
        })
    }

    /// Takes the dial for the session of this bench, and waits for its `register` without answering it.
    pub async fn opened(&mut self, dial: Dial) -> Outcome<(Session, Message)> {
        let session = dial.accept("").await?;
        self.shared.sessions.lock().push(session.clone());
        let is_register = |message: &Message| message.method() == Some("register");
        let register = session.message(0, self.by(10.0), is_register).await;
        self.current = Some(session.clone());
        match register {
            Some(register) => Ok((session, register)),
            None => unreached("the agent sent no register"),
        }
    }

    pub async fn accepted(&mut self, dial: Dial) -> Outcome<Session> {
        let (session, register) = self.opened(dial).await?;
        answer(&session, &register, json!({"ok": true})).await;
        Ok(session)
    }

    /// A session that is registered: that of the check before, where it is still open.
    pub async fn session(&mut self) -> Outcome<Session> {
        match &self.current {
            Some(session) if session.is_open() => Ok(session.clone()),
            _ => self.fresh().await,
        }
    }

    /// A new session that is registered.
    pub async fn fresh(&mut self) -> Outcome<Session> {
        let dial = self.dial().await?;
        self.accepted(dial).await
    }

    /// A new session and its `register`, which is not answered.
    pub async fn unanswered(&mut self) -> Outcome<(Session, Message)> {
        let dial = self.dial().await?;
        self.opened(dial).await
    }

    /// The response to a request; `seconds` of the protocol are given for it.
    pub async fn ask(
        &self,
        session: &Session,
        method: &str,
        params: Value,
        seconds: f64,
    ) -> Outcome<Message> {
        let id = session.send_request(method, params).await;
        self.answer_to(session, &id, seconds).await
    }

    pub async fn answer_to(&self, session: &Session, id: &str, seconds: f64) -> Outcome<Message> {
        let asked = Instant::now();
        match session.response(id, self.by(seconds) + Duration::from_secs(3)).await {
            Some(response) => Ok(response),
            None => {
                let ended = session.see(|log| log.end.as_ref().map(|(_, how)| how.clone()));
                let ended = ended.map_or(String::new(), |how| format!("; the agent {how}"));
                broken(format!(
                    "no answer to the request {id} within {:.1} s{ended}",
                    asked.elapsed().as_secs_f64()
                ))
            }
        }
    }

    /// Holds the agent to a session that goes on: it answers a request.
    pub async fn still_serves(&self, session: &Session) -> Outcome {
        match self.ask(session, "kit_unknown", json!({}), 1.0).await {
            Ok(_) => Ok(()),
            Err(_) => broken("the session did not go on: a request after it was not answered"),
        }
    }
}

/// Answers `register` with this result.
pub async fn answer(session: &Session, register: &Message, result: Value) {
    let id = register.id.clone().unwrap_or("null".to_owned());
    session.text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
}
