//! What the gateway knows: its instances, and the switches that commands turn. Sessions and
//! handlers share it; every event about an instance's coming and going is printed here, once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};

use crate::agents::rpc::Register;
use crate::agents::session::Order;
use crate::output;

pub struct Gateway {
    pub token: Token,
    pub clocks: Clocks,
    /// While set, sessions read nothing and send nothing of their own accord.
    pub mute: watch::Sender<bool>,
    /// Changes whenever an instance comes or goes.
    pub changed: watch::Sender<()>,
    /// Set once, at the end; each session holds a receiver for as long as it lives.
    pub ending: watch::Sender<bool>,
    pub refuse_register: AtomicBool,
    refuse_upgrade: Mutex<Option<Refusal>>,
    sessions: AtomicU64,
    instances: Mutex<BTreeMap<String, Instance>>,
}

/// How often things are due; `None` is never.
#[derive(Clone, Copy)]
pub struct Clocks {
    pub poll: Option<Duration>,
    pub ping: Option<Duration>,
    /// The agent pings every 30 s; the rest is slack for its scheduling and the network's.
    pub heartbeat: Option<Duration>,
}

impl Default for Clocks {
    fn default() -> Clocks {
        let seconds = |count| Some(Duration::from_secs(count));
        Clocks { poll: seconds(60), ping: seconds(20), heartbeat: seconds(40) }
    }
}

/// The bearer token: neither printed nor compared byte by byte.
pub struct Token(String);

impl Token {
    pub fn new(text: &str) -> Option<Token> {
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    /// In a time that depends on the lengths alone.
    pub fn is(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

/// What WebSocket upgrades are answered with, by command.
#[derive(Clone, Copy)]
pub struct Refusal {
    pub status: StatusCode,
    pub retry_after: Option<u32>,
}

struct Instance {
    register: Register,
    registers: u64,
    snapshot: Option<Value>,
    snapshot_at: Option<String>,
    session: Option<Live>,
}

#[derive(Clone)]
struct Live {
    number: u64,
    orders: mpsc::UnboundedSender<Order>,
}

impl Instance {
    fn view(&self) -> Value {
        json!({
            "id": self.register.instance_id,
            "agent_connected": self.session.is_some(),
            "agent_version": self.register.version,
            "ip": self.register.ip,
            "os": self.register.os,
            "arch": self.register.arch,
            "registers": self.registers,
            "metrics": self.snapshot,
            "metrics_received_at": self.snapshot_at,
        })
    }
}

impl Gateway {
    pub fn new(token: Token, clocks: Clocks) -> Arc<Gateway> {
        Arc::new(Gateway {
            token,
            clocks,
            mute: watch::Sender::new(false),
            changed: watch::Sender::new(()),
            ending: watch::Sender::new(false),
            refuse_register: AtomicBool::new(false),
            refuse_upgrade: Mutex::new(None),
            sessions: AtomicU64::new(0),
            instances: Mutex::new(BTreeMap::new()),
        })
    }

    /// Tells every session to close and returns when the last has.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }

    pub fn refusal(&self) -> Option<Refusal> {
        *self.refuse_upgrade.lock().expect("no holder panics")
    }

    pub fn refuse_upgrade(&self, refusal: Option<Refusal>) {
        *self.refuse_upgrade.lock().expect("no holder panics") = refusal;
    }

    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn instances(&self) -> Value {
        self.lock().values().map(Instance::view).collect()
    }

    pub fn instance(&self, id: &str) -> Option<Value> {
        self.lock().get(id).map(Instance::view)
    }

    pub fn is_connected(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(|instance| instance.session.is_some())
    }

    /// Where the live session of instance `id` takes its orders.
    pub fn orders(&self, id: &str) -> Result<mpsc::UnboundedSender<Order>, String> {
        self.live(id).map(|live| live.orders)
    }

    /// Session `number` is the instance's from now on; an older one is dropped.
    pub fn registered(
        &self,
        number: u64,
        register: Register,
        orders: mpsc::UnboundedSender<Order>,
    ) {
        let id = register.instance_id.clone();
        let _ = self.dismiss(&id, Order::Drop, &format!("replaced by session {number}"));
        let mut instances = self.lock();
        let known = instances.remove(&id);
        let (registers, snapshot, snapshot_at) = match known {
            Some(known) => (known.registers + 1, known.snapshot, known.snapshot_at),
            None => (1, None, None),
        };
        let session = Some(Live { number, orders });
        let instance = Instance { register, registers, snapshot, snapshot_at, session };
        output::event(
            "registered",
            json!({"instance": id, "session": number, "registers": registers,
                   "version": instance.register.version, "ip": instance.register.ip,
                   "os": instance.register.os, "arch": instance.register.arch}),
        );
        instances.insert(id, instance);
        drop(instances);
        self.changed.send_replace(());
    }

    pub fn snapshot(&self, id: &str, snapshot: Value) {
        if let Some(instance) = self.lock().get_mut(id) {
            instance.snapshot = Some(snapshot);
            instance.snapshot_at = Some(output::now());
        }
    }

    /// Marks the instance as not connected *now*, so that a command given next sees it so, and
    /// gives its session the order that makes it true.
    pub fn dismiss(&self, id: &str, order: Order, reason: &str) -> Result<(), String> {
        let live = self.live(id)?;
        self.ended(live.number, Some(id), reason);
        let _ = live.orders.send(order);
        Ok(())
    }

    /// Session `number` is over. Said once, whoever notices first.
    pub fn ended(&self, number: u64, id: Option<&str>, reason: &str) {
        let mut instances = self.lock();
        if let Some(id) = id {
            let Some(instance) = instances.get_mut(id) else {
                return;
            };
            if instance.session.take_if(|live| live.number == number).is_none() {
                return;
            }
        }
        output::event("disconnected", json!({"instance": id, "session": number, "reason": reason}));
        drop(instances);
        self.changed.send_replace(());
    }

    fn live(&self, id: &str) -> Result<Live, String> {
        match self.lock().get(id) {
            None => Err(format!("no instance {id} has registered; see instances")),
            Some(Instance { session: None, .. }) => Err(format!("{id} is not connected")),
            Some(Instance { session: Some(live), .. }) => Ok(live.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instance>> {
        self.instances.lock().expect("no holder panics")
    }
}
