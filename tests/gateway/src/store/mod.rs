//! What survives a restart, in SQLite: the only folder with SQL in it. One thread writes; readers have
//! connections of their own, which never see what is not committed.
//!
//! - `place` where the database is; `migrations` its tables; `queue`, `writer` what agents tell
//! - `instances`, `events`, `keys`, `sessions`, `history` the rows; `readers` who reads

mod error;
pub mod events;
pub mod history;
mod instances;
pub mod keys;
mod place;
mod queue;
mod readers;
pub mod sessions;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::agents::events::Event;
use crate::agents::fleet::Record;
use crate::agents::register::InstanceId;
use crate::agents::snapshot::Snapshot;
pub use error::{Error, Result};
use events::{EventId, Page, StoredEvent};
use history::{History, Range};
use keys::Key;
use place::{Place, migrate};
use queue::Queue;
use readers::Readers;
use sessions::{Change, Session, What};
use writer::Writer;

/// Cheap to clone: all clones are one store.
#[derive(Clone)]
pub struct Store(Arc<Parts>);

struct Parts {
    queue: Arc<Queue>,
    readers: Readers,
    committed: watch::Receiver<EventId>,
    changed_outside: watch::Receiver<()>,
    signed_out: watch::Receiver<()>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    /// Held as long as the store is.
    _lock: Option<std::fs::File>,
}

impl Store {
    /// With all records that it has kept. Without a folder it is in memory.
    pub fn open(folder: Option<&Path>) -> Result<(Store, Vec<Record>)> {
        let place = match folder {
            Some(folder) => Place::folder(folder)?,
            None => Place::memory()?,
        };
        Store::open_at(&place).map_err(|error| error.at(folder))
    }

    fn open_at(place: &Place) -> Result<(Store, Vec<Record>)> {
        let lock = place.lock()?;
        let mut connection = place.open()?;
        migrate(&mut connection)?;
        let (records, numbers) = instances::load(&connection)?;
        let queue = Arc::new(Queue::default());
        let (committed, last_committed) = watch::channel(events::last_id(&connection)?);
        let (changed_outside, changed) = watch::channel(());
        let (signed_out, last_signed_out) = watch::channel(());
        let readers = Readers::open(place)?;
        let writer = Writer {
            connection,
            queue: queue.clone(),
            numbers,
            committed,
            changed_outside,
            signed_out,
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(|| writer.run());
        let thread = thread.map_err(|source| Error::Io { path: "a thread".into(), source })?;
        let parts = Parts {
            queue,
            readers,
            committed: last_committed,
            changed_outside: changed,
            signed_out: last_signed_out,
            writer: Mutex::new(Some(thread)),
            _lock: lock,
        };
        Ok((Store(Arc::new(parts)), records))
    }

    /// An event, and the record as it is after it, in one transaction.
    pub fn keep(&self, events: Vec<Event>, record: Option<&Record>) {
        self.0.queue.keep(events, record.cloned());
    }

    pub fn snapshot(&self, id: InstanceId, snapshot: Arc<Snapshot>) {
        self.0.queue.add(|batch| batch.add_snapshot(id, snapshot));
    }

    /// The latest, not its point in the history.
    pub fn drop_snapshot(&self, id: InstanceId) {
        self.0.queue.add(|batch| {
            batch.dropped_snapshots.insert(id);
        });
    }

    /// An instance and all that is known of it.
    pub fn forget(&self, id: InstanceId) {
        self.0.queue.add(|batch| batch.forget(id));
    }

    /// The id of the last event that can be read. It changes as events are committed.
    pub fn committed(&self) -> watch::Receiver<EventId> {
        self.0.committed.clone()
    }

    /// Changes when another process has written, for example `gateway token revoke`.
    pub fn changed_outside(&self) -> watch::Receiver<()> {
        self.0.changed_outside.clone()
    }

    pub async fn events(&self, page: Page) -> Result<Vec<StoredEvent>> {
        self.0.readers.read(move |connection| events::read(connection, &page)).await
    }

    /// `None`: nothing of this instance is stored yet.
    pub async fn history(&self, id: InstanceId, range: Range) -> Result<Option<History>> {
        let read = move |connection: &Connection| match instances::number(connection, &id)? {
            Some(no) => history::read(connection, no, range).map(Some),
            None => Ok(None),
        };
        self.0.readers.read(read).await
    }

    /// Revoked or not.
    pub async fn key(&self, id: String) -> Result<Option<Key>> {
        self.0.readers.read(move |connection| keys::find(connection, &id)).await
    }

    /// Returns when it is committed.
    pub async fn change_sessions(&self, what: What) -> Result<()> {
        let (done, committed) = oneshot::channel();
        self.0.queue.add(|batch| batch.sessions.push_back(Change { what, done }));
        committed.await.map_err(|_| Error::Ended)
    }

    /// Expired or not.
    pub async fn session(&self, hash: Vec<u8>) -> Result<Option<Session>> {
        self.0.readers.read(move |connection| sessions::find(connection, &hash)).await
    }

    /// Changes when a session has been ended by the one who had it.
    pub fn signed_out(&self) -> watch::Receiver<()> {
        self.0.signed_out.clone()
    }

    /// Writes what waits, and ends the writer.
    pub fn end(&self) {
        self.0.queue.end();
        if let Some(thread) = self.0.writer.lock().take() {
            let _ = thread.join();
        }
    }
}
