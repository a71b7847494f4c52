//! What waits for the writer, and is bounded: an event that finds no place is lost with a word in the
//! log, and of an instance's record and snapshot only the newest waits. An instance that tells more
//! events than it may loses its own, and nobody else's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
/// Of one instance: so many at once, and then one each second. One that comes and goes has two.
const BURST: u32 = 500;
const EACH: Duration = Duration::from_secs(1);
/// Of these, those whose events are paid for are forgotten.
const REMEMBERED: usize = 1000;

#[derive(Default)]
pub struct Batch {
    pub events: VecDeque<Event>,
    pub records: HashMap<InstanceId, Record>,
    pub snapshots: HashMap<InstanceId, Arc<Snapshot>>,
    /// After those that wait: a snapshot that comes later is kept again.
    pub dropped_snapshots: HashSet<InstanceId>,
    /// Before all others: an instance that comes back begins anew.
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
    /// When an instance will have paid for all events that it has told.
    paid_at: HashMap<InstanceId, Instant>,
    ending: bool,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && !self.is_urgent()
            && self.snapshots.is_empty()
            && self.dropped_snapshots.is_empty()
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

    pub fn add_snapshot(&mut self, id: InstanceId, snapshot: Arc<Snapshot>) {
        self.dropped_snapshots.remove(&id);
        self.snapshots.insert(id, snapshot);
    }

    pub fn add_record(&mut self, record: Record) {
        self.records.insert(record.register.instance_id.clone(), record);
    }

    /// With all that waits of it.
    pub fn forget(&mut self, id: InstanceId) {
        self.records.remove(&id);
        self.snapshots.remove(&id);
        self.dropped_snapshots.remove(&id);
        self.events.retain(|event| event.instance.as_ref() != Some(&id));
        self.forgotten.insert(id);
    }
}

impl State {
    fn tell(&mut self, event: Event, now: Instant) {
        if event.instance.as_ref().is_none_or(|id| self.may_tell(id, now)) {
            self.batch.events.push_back(event);
        } else {
            self.batch.lost_events += 1;
        }
    }

    fn may_tell(&mut self, id: &InstanceId, now: Instant) -> bool {
        if self.paid_at.len() > REMEMBERED && !self.paid_at.contains_key(id) {
            self.paid_at.retain(|_, at| *at > now);
        }
        let paid_at = self.paid_at.get(id).copied().unwrap_or(now).max(now) + EACH;
        let may = paid_at <= now + EACH * BURST;
        if may {
            self.paid_at.insert(id.clone(), paid_at);
        }
        may
    }
}

impl Queue {
    pub fn keep(&self, events: Vec<Event>, record: Option<Record>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        events.into_iter().for_each(|event| state.tell(event, now));
        if let Some(record) = record {
            state.batch.add_record(record);
        }
        self.added(&mut state);
    }

    pub fn add(&self, change: impl FnOnce(&mut Batch)) {
        let mut state = self.state.lock();
        change(&mut state.batch);
        self.added(&mut state);
    }

    /// What could not be written; what has come since is newer.
    pub fn put_back(&self, failed: Batch) {
        let mut state = self.state.lock();
        let newer = std::mem::replace(&mut state.batch, failed);
        let batch = &mut state.batch;
        newer.forgotten.into_iter().for_each(|id| batch.forget(id));
        batch.events.extend(newer.events);
        newer.records.into_values().for_each(|record| batch.add_record(record));
        newer.snapshots.into_iter().for_each(|(id, snapshot)| batch.add_snapshot(id, snapshot));
        batch.dropped_snapshots.extend(newer.dropped_snapshots);
        batch.sessions.extend(newer.sessions);
        batch.lost_events += newer.lost_events;
        batch.bound();
    }

    pub fn end(&self) {
        self.state.lock().ending = true;
        self.urgent.notify_one();
    }

    pub fn is_ending(&self) -> bool {
        self.state.lock().ending
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

    fn added(&self, state: &mut State) {
        state.batch.bound();
        if state.batch.is_urgent() {
            self.urgent.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::events::What;
    use crate::clock::Moment;

    fn event(id: &str) -> Event {
        let instance = InstanceId::try_from(id.to_owned()).ok();
        Event { at: Moment::default(), instance, what: What::GatewayStarted }
    }

    #[test]
    fn who_tells_too_much_loses_only_its_own() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..BURST + 100 {
            state.tell(event("flood"), now);
        }
        state.tell(event("quiet"), now);
        state.tell(event("flood"), now + EACH);
        assert_eq!(state.batch.lost_events, 100);
        assert_eq!(state.batch.events.len() as u32, BURST + 2);
    }

    #[test]
    fn who_has_told_is_not_remembered_for_ever() {
        let (mut state, now) = (State::default(), Instant::now());
        for n in 0..REMEMBERED as u32 * 3 {
            state.tell(event(&n.to_string()), now + EACH * n);
        }
        assert!(state.paid_at.len() <= REMEMBERED + 2, "{}", state.paid_at.len());
    }
}
