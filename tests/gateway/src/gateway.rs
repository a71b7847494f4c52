//! What every part of the gateway shares: the agents, the store, who may do what, the clocks, and the
//! switches that tests turn by command.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::access::Access;
use crate::agents::registry::Registry;
use crate::page::live::Live;
use crate::page::stream::Streams;
use crate::store::Store;

/// Each may keep 1 MiB of lines waiting.
const FOLLOWERS: usize = 256;
/// Each keeps 1 MiB of matches at most.
const SEARCHERS: usize = 16;
const EVENT_READERS: usize = 512;

pub struct Gateway {
    pub agents: Registry,
    pub store: Store,
    pub access: Access,
    pub clocks: Clocks,
    pub switches: Switches,
    /// One permit for each container that may be followed at once.
    pub followers: Arc<Semaphore>,
    /// One for each search in a log.
    pub searchers: Arc<Semaphore>,
    /// One for each reader of live events.
    pub event_readers: Arc<Semaphore>,
    /// Set once, at the end; each session holds a receiver for as long as it lives.
    pub ending: watch::Sender<bool>,
    /// What every page says of the fleet.
    pub live: Live,
    pub streams: Streams,
    /// Of the page, as this machine reaches it; known once the gateway listens.
    pub url: OnceLock<String>,
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

/// Faults that a test asks for by command.
pub struct Switches {
    /// While set, sessions read nothing and send nothing of their own accord.
    pub mute: watch::Sender<bool>,
    pub refuse_register: AtomicBool,
    pub refuse_upgrade: Mutex<Option<Refusal>>,
}

/// What WebSocket upgrades are answered with.
#[derive(Clone, Copy)]
pub struct Refusal {
    pub status: StatusCode,
    pub retry_after: Option<u32>,
}

impl Gateway {
    /// With a database that ends with it.
    #[cfg(test)]
    pub fn in_memory() -> Arc<Gateway> {
        let (store, kept) = Store::open(None).unwrap();
        let access = Access::new(store.clone(), crate::access::Given::default());
        Gateway::new(Registry::new(store.clone(), kept), store, access, Clocks::default())
    }

    pub fn new(agents: Registry, store: Store, access: Access, clocks: Clocks) -> Arc<Gateway> {
        let switches = Switches {
            mute: watch::Sender::new(false),
            refuse_register: AtomicBool::new(false),
            refuse_upgrade: Mutex::new(None),
        };
        let ending = watch::Sender::new(false);
        Arc::new(Gateway {
            agents,
            store,
            access,
            clocks,
            switches,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            searchers: Arc::new(Semaphore::new(SEARCHERS)),
            event_readers: Arc::new(Semaphore::new(EVENT_READERS)),
            ending,
            live: Live::default(),
            streams: Streams::default(),
            url: OnceLock::new(),
        })
    }

    /// Tells every session to close and returns when the last has.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }
}
