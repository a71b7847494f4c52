//! The one place where an instance's state changes. Pure: a change and the time go in, the state
//! moves, and what has to be done about that comes out as effects.
//!
//! | change       | connected becomes | effects                                                     |
//! |--------------|-------------------|-------------------------------------------------------------|
//! | `Registered` | true              | an older session is closed; `connected`, and what `register` tells of upgrades |
//! | `Lost`       | false, if it is the newest session | `lost`                                       |
//! | `Heard`      | as it was         | none                                                        |
//! | `Snapshot`   | as it was         | it is kept                                                  |
//! | `Upgrade…`, `RolledBack` | as it was | the upgrade's outcome                                    |
//! | `Restarted`  | false             | none told: the gateway's own event tells it                 |

mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agents::events::{Event, What};
use crate::agents::register::{InstanceId, Register, RollBack};
use crate::agents::rpc;
use crate::agents::snapshot::Snapshot;
use crate::agents::upgrade::Upgrade;
use crate::clock::Moment;
pub use snapshots::BUDGET;

/// Instances that have ever registered; one more is refused.
pub const INSTANCES: usize = 50_000;

/// Of one instance. An agent tells its last eight.
const ROLL_BACKS: usize = 16;

/// Sessions are counted from 1 at each start of the gateway.
pub type SessionNumber = u64;

#[derive(Debug)]
pub enum Change {
    Registered {
        session: SessionNumber,
        register: Box<Register>,
    },
    Lost {
        session: SessionNumber,
        reason: String,
    },
    Heard {
        session: SessionNumber,
    },
    Snapshot {
        session: SessionNumber,
        snapshot: Arc<Snapshot>,
    },
    UpgradeAsked {
        version: String,
        checksum_sha256: String,
        by: String,
    },
    UpgradeProgress {
        session: SessionNumber,
        bytes: u64,
        total: Option<u64>,
    },
    UpgradeAnswered(Result<(), rpc::Error>),
    /// Of the upgrade that was asked for at this time: its order did not leave the gateway.
    UpgradeUnsent {
        requested_at: Moment,
    },
    /// The same, of one that has no outcome in its time.
    UpgradeOverdue {
        requested_at: Moment,
    },
    RolledBack {
        session: SessionNumber,
        roll_back: RollBack,
    },
    /// The gateway has started again, so nobody is connected.
    Restarted,
}

#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Another session has registered under the same id: close this one with 4409.
    Close(SessionNumber),
    Tell(Event),
    /// Part of the history from now on.
    KeepSnapshot(Arc<Snapshot>),
    /// The record has changed: keep it.
    Save,
}

/// All that is known of an instance.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    pub register: Register,
    pub registers: u64,
    pub first_seen: Moment,
    pub last_seen: Moment,
    /// A session's number means nothing after a restart.
    #[serde(skip)]
    pub live: Option<Live>,
    /// The last one, cleared or not.
    pub loss: Option<Loss>,
    pub upgrade: Option<Upgrade>,
    /// The last that were told as events.
    #[serde(default)]
    pub roll_backs: VecDeque<RollBack>,
    #[serde(skip)]
    pub snapshot: Option<Arc<Snapshot>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    pub session: SessionNumber,
    pub since: Moment,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Loss {
    pub at: Moment,
    pub reason: String,
    /// By the next register.
    pub cleared_at: Option<Moment>,
}

#[derive(Default)]
pub struct Fleet {
    records: BTreeMap<InstanceId, Record>,
    /// Of all latest snapshots.
    snapshot_bytes: usize,
}

impl Fleet {
    pub fn get(&self, id: &InstanceId) -> Option<&Record> {
        self.records.get(id)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Those with an id greater than `after`, in the order of their ids.
    pub fn after(&self, after: Option<&InstanceId>) -> impl Iterator<Item = &Record> {
        use std::ops::Bound::{Excluded, Unbounded};

        let from = after.map_or(Unbounded, Excluded);
        self.records.range((from, Unbounded)).map(|(_, record)| record)
    }

    pub fn has_room_for(&self, id: &InstanceId) -> bool {
        self.records.len() < INSTANCES || self.records.contains_key(id)
    }

    /// What the store has kept.
    pub fn restore(&mut self, record: Record) {
        self.snapshot_bytes += record.snapshot_bytes();
        self.records.insert(record.register.instance_id.clone(), record);
    }

    pub fn lost_for(&self, time: Duration, now: Moment) -> Vec<InstanceId> {
        let lost = self.records.iter().filter(|(_, record)| {
            record.live.is_none()
                && record.loss.as_ref().is_some_and(|loss| now.since(loss.at) > time)
        });
        lost.map(|(id, _)| id.clone()).collect()
    }

    pub fn forget(&mut self, id: &InstanceId) {
        if let Some(record) = self.records.remove(id) {
            self.snapshot_bytes -= record.snapshot_bytes();
        }
    }

    /// Nothing happens to an instance that has never registered but its first register. What a session
    /// tells counts as long as it is the newest.
    pub fn apply(&mut self, id: &InstanceId, change: Change, now: Moment) -> Vec<Effect> {
        let before = self.snapshot_bytes_of(id);
        let mut told = Vec::new();
        let mut effects = Vec::new();
        if let Change::Snapshot { session, snapshot } = &change
            && self.get(id).is_some_and(|record| record.is_session(*session))
        {
            effects.push(Effect::KeepSnapshot(snapshot.clone()));
        }
        let save = match change {
            Change::Registered { session, register } => {
                let older = self.registered(session, *register, now, &mut told);
                effects.extend(older.map(Effect::Close));
                true
            }
            change => match self.records.get_mut(id) {
                Some(record) => record.apply(change, now, &mut told),
                None => false,
            },
        };
        self.snapshot_bytes = self.snapshot_bytes - before + self.snapshot_bytes_of(id);
        effects.extend(save.then_some(Effect::Save));
        let tell = |what| Effect::Tell(Event { at: now, instance: Some(id.clone()), what });
        effects.extend(told.into_iter().map(tell));
        effects
    }

    fn registered(
        &mut self,
        session: SessionNumber,
        register: Register,
        now: Moment,
        told: &mut Vec<What>,
    ) -> Option<SessionNumber> {
        let id = register.instance_id.clone();
        let Some(record) = self.records.get_mut(&id) else {
            told.push(connected(&register, false));
            let mut record = Record::new(session, register, now);
            record.learn_roll_backs(told);
            self.records.insert(id, record);
            return None;
        };
        let older = record.live.take().map(|live| live.session).filter(|older| *older != session);
        told.push(connected(&register, older.is_some()));
        record.registered(session, register, now, told);
        older
    }
}

impl Record {
    fn new(session: SessionNumber, register: Register, now: Moment) -> Record {
        Record {
            register,
            registers: 1,
            first_seen: now,
            last_seen: now,
            live: Some(Live { session, since: now }),
            loss: None,
            upgrade: None,
            roll_backs: VecDeque::new(),
            snapshot: None,
        }
    }

    fn registered(
        &mut self,
        session: SessionNumber,
        register: Register,
        now: Moment,
        told: &mut Vec<What>,
    ) {
        let (from, to) = (&self.register.version, &register.version);
        let upgrade = self.upgrade.as_mut();
        let confirmed = upgrade.and_then(|upgrade| upgrade.registered(&register, from, now));
        let is_confirmed = confirmed.is_some();
        match confirmed {
            Some(confirmed) => told.push(confirmed),
            None if from != to => {
                told.push(What::VersionChanged { from: from.clone(), to: to.clone() });
            }
            None => {}
        }
        if let Some(loss) = &mut self.loss {
            loss.cleared_at.get_or_insert(now);
        }
        self.register = register;
        self.registers += 1;
        self.last_seen = now;
        self.live = Some(Live { session, since: now });
        for roll_back in self.learn_roll_backs(told) {
            // What the register has just confirmed was rolled back in an earlier attempt.
            if let Some(upgrade) = self.upgrade.as_mut().filter(|_| !is_confirmed) {
                upgrade.rolled_back(&roll_back, now);
            }
        }
    }

    /// Whether the record is worth keeping now.
    fn apply(&mut self, change: Change, now: Moment, told: &mut Vec<What>) -> bool {
        match change {
            Change::Lost { session, reason } => return self.lost(session, reason, now, told),
            Change::Heard { session }
            | Change::Snapshot { session, .. }
            | Change::UpgradeProgress { session, .. }
            | Change::RolledBack { session, .. }
                if !self.is_session(session) =>
            {
                return false;
            }
            Change::Heard { .. } => {
                self.last_seen = now;
                return false;
            }
            Change::Snapshot { snapshot, .. } => {
                self.snapshot = Some(snapshot);
                return false;
            }
            Change::UpgradeAsked { version, checksum_sha256, by } => {
                told.push(What::UpgradeRequested { version: version.clone(), by: by.clone() });
                self.upgrade = Some(Upgrade::asked(version, checksum_sha256, by, now));
            }
            Change::UpgradeProgress { bytes, total, .. } => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.progressed(bytes, total, now);
                }
            }
            Change::UpgradeAnswered(outcome) => {
                let upgrade = self.upgrade.as_mut();
                told.extend(upgrade.and_then(|upgrade| upgrade.answered(outcome, now)));
            }
            Change::UpgradeUnsent { requested_at } => {
                told.extend(self.asked_at(requested_at).and_then(|upgrade| upgrade.unsent(now)));
            }
            Change::UpgradeOverdue { requested_at } => {
                told.extend(self.asked_at(requested_at).and_then(|upgrade| upgrade.overdue(now)));
            }
            Change::RolledBack { roll_back, .. } => {
                if !self.was_told_at_register(&roll_back) {
                    if let Some(upgrade) = &mut self.upgrade {
                        upgrade.rolled_back(&roll_back, now);
                    }
                    self.learn(roll_back, told);
                }
            }
            Change::Restarted => {
                self.live = None;
                if self.loss.as_ref().is_some_and(|loss| loss.cleared_at.is_none()) {
                    return false;
                }
                let reason = "not back since the gateway was restarted".to_owned();
                self.loss = Some(Loss { at: now, reason, cleared_at: None });
            }
            // Handled by the fleet, which makes the record.
            Change::Registered { .. } => return false,
        }
        true
    }

    /// The end of an older session says nothing about the newest.
    fn lost(
        &mut self,
        session: SessionNumber,
        reason: String,
        now: Moment,
        told: &mut Vec<What>,
    ) -> bool {
        let newest = self.live.take_if(|live| live.session == session).is_some();
        if newest {
            self.loss = Some(Loss { at: now, reason: reason.clone(), cleared_at: None });
            told.push(What::Lost { reason });
        }
        newest
    }

    fn asked_at(&mut self, time: Moment) -> Option<&mut Upgrade> {
        self.upgrade.as_mut().filter(|upgrade| upgrade.requested_at == time)
    }

    fn is_session(&self, session: SessionNumber) -> bool {
        self.live.is_some_and(|live| live.session == session)
    }

    /// Those that `register` tells and that are new.
    fn learn_roll_backs(&mut self, told: &mut Vec<What>) -> Vec<RollBack> {
        let all = self.register.upgrade.iter().flat_map(|upgrade| &upgrade.rolled_back);
        let new = all.filter(|told| !self.roll_backs.iter().any(|known| known.is(told)));
        let new: Vec<RollBack> = new.cloned().collect();
        for roll_back in &new {
            self.learn(roll_back.clone(), told);
        }
        new
    }

    /// An agent that tells its roll-backs at `register` also sends the notification after it.
    fn was_told_at_register(&self, roll_back: &RollBack) -> bool {
        let mut known = self.register.upgrade.iter().flat_map(|upgrade| &upgrade.rolled_back);
        known.any(|known| match &roll_back.at {
            Some(_) => known.is(roll_back),
            None => known.checksum_sha256 == roll_back.checksum_sha256,
        })
    }

    fn learn(&mut self, roll_back: RollBack, told: &mut Vec<What>) {
        if self.roll_backs.len() == ROLL_BACKS {
            self.roll_backs.pop_front();
        }
        self.roll_backs.push_back(roll_back.clone());
        told.push(What::RolledBack { roll_back });
    }
}

fn connected(register: &Register, replaced: bool) -> What {
    let (version, ip) = (register.version.clone(), register.ip.clone());
    What::Connected { version, ip, replaced }
}

#[cfg(test)]
mod tests;
