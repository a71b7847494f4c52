//! One agent's WebSocket, from the upgrade to its end: messages in and out, responses matched with
//! requests, the two heartbeats. Everything that happens to it happens in `run`'s one `select!`;
//! what the agent's frames mean is `receive`'s to know.

mod receive;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::agents::rpc;
use crate::output;
use crate::state::Gateway;

pub const MESSAGE_LIMIT: usize = 1 << 20;
/// For a register after the upgrade, for a pong and for a send.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the other half of a close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1500);

/// What commands want of a session.
pub enum Order {
    Request {
        method: String,
        params: Value,
        respond: oneshot::Sender<Outcome>,
    },
    /// A text message as it is, JSON or not.
    Send(String),
    Ping(oneshot::Sender<Duration>),
    Drop,
    Close(u16),
}

pub type Outcome = Result<Value, rpc::Error>;

/// How a session ends: `Drop` without a close frame, `Gone` by the agent's doing.
enum End {
    Gone(String),
    Drop(String),
    Close(u16, String),
}

struct Session {
    gateway: Arc<Gateway>,
    number: u64,
    socket: WebSocket,
    orders: mpsc::UnboundedSender<Order>,
    instance: Option<String>,
    /// By the raw JSON of their ids.
    requests: HashMap<String, (String, Option<oneshot::Sender<Outcome>>)>,
    pings: BTreeMap<u64, (Instant, Option<oneshot::Sender<Duration>>)>,
    last_id: u64,
    connected: Instant,
    last_agent_ping: Instant,
    poll: Option<Interval>,
}

pub async fn run(gateway: Arc<Gateway>, socket: WebSocket, number: u64) {
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let mut mute = gateway.mute.subscribe();
    let mut ending = gateway.ending.subscribe();
    let now = Instant::now();
    let mut ping = gateway.clocks.ping.map(|period| every(period, now + period));
    let mut session = Session {
        gateway,
        number,
        socket,
        orders,
        instance: None,
        requests: HashMap::new(),
        pings: BTreeMap::new(),
        last_id: 0,
        connected: now,
        last_agent_ping: now,
        poll: None,
    };

    let end = loop {
        let loud = !*mute.borrow_and_update();
        let (due, overdue) = session.deadline();
        let step = tokio::select! {
            received = session.socket.recv(), if loud => session.receive(received).await,
            Some(order) = ordered.recv() => session.obey(order).await,
            () = tick(&mut session.poll), if loud => session.request("metrics_collect", json!({}), None).await,
            () = tick(&mut ping), if loud => session.ping(None).await,
            () = sleep_until(due), if loud => Err(End::Drop(overdue.to_owned())),
            _ = mute.changed() => { session.pardon(); Ok(()) }
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

impl Session {
    /// When the session is lost unless something arrives before, and for want of what.
    fn deadline(&self) -> (Instant, &'static str) {
        let never = self.connected + Duration::from_secs(60 * 60 * 24 * 365);
        let register = match self.instance {
            None => self.connected + PATIENCE,
            Some(_) => never,
        };
        let pong = self.pings.values().next().map_or(never, |(sent, _)| *sent + PATIENCE);
        let heartbeat = self.gateway.clocks.heartbeat.map_or(never, |t| self.last_agent_ping + t);
        [
            (register, "no register within 10 s of the connection"),
            (pong, "no pong within 10 s"),
            (heartbeat, "no ping from the agent in its time"),
        ]
        .into_iter()
        .min()
        .expect("there are three")
    }

    /// Muted, the gateway did not listen: what it did not hear is not held against the agent.
    fn pardon(&mut self) {
        self.last_agent_ping = Instant::now();
        self.pings.clear();
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Request { method, params, respond } => {
                self.request(&method, params, Some(respond)).await
            }
            Order::Send(text) => self.send(Message::text(text)).await,
            Order::Ping(respond) => self.ping(Some(respond)).await,
            Order::Drop => Err(End::Drop("dropped by command".to_owned())),
            Order::Close(code) => Err(End::Close(code, "closed by command".to_owned())),
        }
    }

    async fn request(
        &mut self,
        method: &str,
        params: Value,
        respond: Option<oneshot::Sender<Outcome>>,
    ) -> Result<(), End> {
        self.last_id += 1;
        // A string that no one types by chance, so that `send` can have every number.
        let id = json!(format!("gateway-{}", self.last_id));
        self.requests.insert(id.to_string(), (method.to_owned(), respond));
        self.send(Message::text(rpc::request(&id, method, &params))).await
    }

    async fn ping(&mut self, respond: Option<oneshot::Sender<Duration>>) -> Result<(), End> {
        self.last_id += 1;
        self.pings.insert(self.last_id, (Instant::now(), respond));
        self.send(Message::Ping(self.last_id.to_be_bytes().to_vec().into())).await
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
        self.gateway.ended(self.number, self.instance.as_deref(), reason);
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
