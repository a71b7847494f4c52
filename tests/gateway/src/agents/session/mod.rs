//! One agent's WebSocket, from the upgrade to its end: messages in and out, responses matched with
//! requests, the two heartbeats. Everything that happens to it happens in `run`'s one `select!`;
//! what the agent's frames mean is `receive`'s to know.

mod receive;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::fleet::SessionNumber;
use super::poll;
use super::register::InstanceId;
use super::registry::{Admitted, DOUBLED};
use super::rpc;
use crate::access::agent::AgentIdentity;
use crate::gateway::Gateway;
use crate::output;

pub use requests::{Outcome, Reply, Ticket};
use requests::{Requests, id};

pub const MESSAGE_LIMIT: usize = 1 << 20;
/// For a register after the upgrade, for a pong and for a send.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the other half of a close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1500);
/// The agent has 15 s for a snapshot; after this time it is asked anew.
const POLL_PATIENCE: Duration = Duration::from_secs(40);
/// Pings that wait for their pongs; by command there may be many at once.
const PINGS: usize = 256;

/// What others want of a session.
pub enum Order {
    Request {
        ticket: Ticket,
        method: String,
        params: Value,
        reply: Reply,
    },
    Upgrade {
        ticket: Ticket,
        params: Value,
        /// Told when the agent has been asked. Dropped, it has not been, and will not be.
        sent: oneshot::Sender<()>,
        respond: oneshot::Sender<Outcome>,
    },
    /// Nobody wants the lines of this request any more.
    Cancel(Ticket),
    /// A text message as it is, JSON or not.
    Send(String),
    Ping(oneshot::Sender<Duration>),
    Drop,
    Close(u16, String),
}

/// How a session ends: `Drop` without a close frame, `Gone` by the agent's doing.
enum End {
    Gone(String),
    Drop(String),
    Close(u16, String),
}

struct Session {
    gateway: Arc<Gateway>,
    number: SessionNumber,
    socket: WebSocket,
    identity: AgentIdentity,
    instance: Option<InstanceId>,
    requests: Requests,
    pings: BTreeMap<u64, (Instant, Option<oneshot::Sender<Duration>>)>,
    last_ping: u64,
    connected: Instant,
    last_frame: Instant,
    /// When the next snapshot is due; nothing before the register.
    poll: Option<Instant>,
}

pub async fn run(
    gateway: Arc<Gateway>,
    socket: WebSocket,
    identity: AgentIdentity,
    mut admitted: Admitted,
) {
    let mut mute = gateway.switches.mute.subscribe();
    let mut ending = gateway.ending.subscribe();
    let mut revoked = gateway.access.revocations();
    let now = Instant::now();
    let mut ping = gateway.clocks.ping.map(|period| every(period, now + period));
    let mut session = Session {
        gateway,
        number: admitted.number,
        socket,
        identity,
        instance: None,
        requests: Requests::default(),
        pings: BTreeMap::new(),
        last_ping: 0,
        connected: now,
        last_frame: now,
        poll: None,
    };

    let end = loop {
        let loud = !*mute.borrow_and_update();
        let (due, overdue) = session.deadline();
        let step = tokio::select! {
            received = session.socket.recv(), if loud => session.receive(received).await,
            Some(order) = admitted.orders.recv() => session.obey(order).await,
            Ok(()) = admitted.replaced.changed() => {
                Err(End::Close(DOUBLED, admitted.replaced.borrow().clone()))
            }
            () = at(session.poll), if loud => session.poll().await,
            () = tick(&mut ping), if loud => session.ping(None).await,
            () = sleep_until(due), if loud => Err(End::Drop(overdue.to_owned())),
            _ = mute.changed() => { session.pardon(); Ok(()) }
            _ = revoked.changed() => session.still_allowed().await,
            _ = ending.changed() => Err(End::Close(close_code::AWAY, "the gateway ends".to_owned())),
        };
        if let Err(end) = step {
            break end;
        }
    };
    session.end(end).await;
}

fn every(period: Duration, first: Instant) -> Interval {
    let mut interval = interval_at(first, period);
    // After a mute, go on from there, with no burst of what was not sent.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// When the session is lost unless something arrives before, and for want of what.
    fn deadline(&self) -> (Instant, &'static str) {
        let register = self.instance.is_none().then_some(self.connected + PATIENCE);
        let pong = self.pings.values().next().map(|(sent, _)| *sent + PATIENCE);
        let heartbeat = self.gateway.clocks.heartbeat.map(|period| self.last_frame + period);
        let due = [
            (register, "no register within 10 s of the connection"),
            (pong, "no pong within 10 s"),
            (heartbeat, "no frame from the agent in its time"),
        ];
        let due = due.into_iter().filter_map(|(due, overdue)| Some((due?, overdue))).min();
        // Nothing is due: look again later.
        due.unwrap_or((Instant::now() + Duration::from_secs(60 * 60 * 24 * 365), "never"))
    }

    /// Muted, the gateway did not listen: what it did not hear is not held against the agent.
    fn pardon(&mut self) {
        self.last_frame = Instant::now();
        self.pings.clear();
    }

    async fn still_allowed(&mut self) -> Result<(), End> {
        match self.gateway.access.is_agent_allowed(&self.identity).await {
            true => Ok(()),
            false => Err(End::Close(close_code::POLICY, "its token was revoked".to_owned())),
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Request { ticket, method, params, reply } => {
                self.request(ticket, &method, params, reply).await.map(drop)
            }
            Order::Upgrade { ticket, params, sent, respond } => {
                let reply = Reply::Once(respond);
                if self.request(ticket, "agent_upgrade", params, reply).await? {
                    let _ = sent.send(());
                }
                Ok(())
            }
            Order::Cancel(ticket) => self.cancel(ticket).await,
            Order::Send(text) => self.send(Message::text(text)).await,
            Order::Ping(respond) => self.ping(Some(respond)).await,
            Order::Drop => Err(End::Drop("dropped by command".to_owned())),
            Order::Close(code, reason) => Err(End::Close(code, reason)),
        }
    }

    /// Whether it was sent. An end says that it was not: the kernel has not taken all of it.
    async fn request(
        &mut self,
        ticket: Ticket,
        method: &str,
        params: Value,
        reply: Reply,
    ) -> Result<bool, End> {
        // Where too many wait already, the one who asked sees its reply dropped.
        let is_sent = self.requests.add(ticket, method, reply);
        if is_sent {
            self.send(Message::text(rpc::request(&id(ticket), method, &params))).await?;
        }
        Ok(is_sent)
    }

    async fn poll(&mut self) -> Result<(), End> {
        let Some(instance) = &self.instance else {
            return Ok(());
        };
        self.poll = poll::next(self.gateway.clocks.poll, instance);
        if self.requests.is_polled_since(Instant::now() - POLL_PATIENCE) {
            return Ok(());
        }
        let ticket = self.gateway.agents.ticket();
        self.request(ticket, "metrics_collect", json!({}), Reply::Poll).await.map(drop)
    }

    async fn cancel(&mut self, ticket: Ticket) -> Result<(), End> {
        if !self.requests.has(ticket) {
            return Ok(());
        }
        let own = self.gateway.agents.ticket();
        let (respond, _) = oneshot::channel();
        let params = json!({"id": id(ticket)});
        self.request(own, "logs_cancel", params, Reply::Once(respond)).await.map(drop)
    }

    async fn ping(&mut self, respond: Option<oneshot::Sender<Duration>>) -> Result<(), End> {
        if self.pings.len() >= PINGS {
            return Ok(());
        }
        self.last_ping += 1;
        self.pings.insert(self.last_ping, (Instant::now(), respond));
        self.send(Message::Ping(self.last_ping.to_be_bytes().to_vec().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Gone(error.to_string())),
            Err(_) => Err(End::Drop("the agent reads nothing".to_owned())),
        }
    }

    async fn end(mut self, end: End) {
        let (End::Gone(reason) | End::Drop(reason) | End::Close(_, reason)) = &end;
        self.gateway.agents.ended(self.number, self.instance.as_ref(), reason);
        let close = match end {
            End::Drop(_) => return,
            End::Gone(_) => None,
            End::Close(code, reason) => Some(CloseFrame { code, reason: reason.into() }),
        };
        if close.is_some() {
            let _ = self.send(Message::Close(close)).await;
        }
        // Reading on sends the reply to the agent's close, and waits for the one to ours.
        let drain = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = timeout(CLOSE_PATIENCE, drain).await;
    }

    fn event(&self, name: &str, mut fields: Value) {
        fields["session"] = json!(self.number);
        fields["instance"] = json!(self.instance);
        output::event(name, fields);
    }
}
