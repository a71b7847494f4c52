//! What waits for the writer, and is bounded: an event that finds no place is lost with a word in the
//! log, and of an instance's record and snapshot only the newest waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::agents::events::Event;
use crate::agents::fleet::Record;
use crate::agents::register::InstanceId;
use crate::agents::snapshot::Snapshot;
use crate::store::sessions::Change;

/// The writer takes thousands a second. They only pile up while the disk is full.
const EVENTS: usize = 20_000;
/// Whoever signs in waits for the writer, so there are more only while it can't write.
const SESSIONS: usize = 1000;

#[derive(Default)]
pub struct Batch {
    pub events: VecDeque<Event>,
    pub records: HashMap<InstanceId, Record>,
    pub snapshots: HashMap<InstanceId, Arc<Snapshot>>,
    pub forgotten: HashSet<InstanceId>,
    pub sessions: VecDeque<Change>,
    pub lost_events: u64,
}

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    urgent: Condvar,
}

#[derive(Default)]
struct State {
    batch: Batch,
    ending: bool,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.is_urgent() && self.snapshots.is_empty()
    }

    fn is_urgent(&self) -> bool {
        !self.events.is_empty()
            || !self.records.is_empty()
            || !self.forgotten.is_empty()
            || !self.sessions.is_empty()
    }

    fn bound(&mut self) {
        while self.events.len() > EVENTS {
            self.events.pop_front();
            self.lost_events += 1;
        }
        while self.sessions.len() > SESSIONS {
            self.sessions.pop_front();
        }
    }
}

impl Queue {
    pub fn add(&self, change: impl FnOnce(&mut Batch)) {
        let mut state = self.state.lock();
        change(&mut state.batch);
        state.batch.bound();
        if state.batch.is_urgent() {
            self.urgent.notify_one();
        }
    }

    /// What could not be written; what has come since is newer.
    pub fn put_back(&self, failed: Batch) {
        let mut state = self.state.lock();
        let newer = std::mem::replace(&mut state.batch, failed);
        state.batch.events.extend(newer.events);
        state.batch.records.extend(newer.records);
        state.batch.snapshots.extend(newer.snapshots);
        state.batch.forgotten.extend(newer.forgotten);
        state.batch.sessions.extend(newer.sessions);
        state.batch.lost_events += newer.lost_events;
        state.batch.bound();
    }

    pub fn end(&self) {
        self.state.lock().ending = true;
        self.urgent.notify_one();
    }

    /// All there is, as soon as something urgent is, or at `until`. `None`: it ends, and all is taken.
    pub fn take(&self, until: Instant) -> Option<Batch> {
        let mut state = self.state.lock();
        while !state.batch.is_urgent() && !state.ending {
            if self.urgent.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        let batch = std::mem::take(&mut state.batch);
        (!state.ending || !batch.is_empty()).then_some(batch)
    }
}
