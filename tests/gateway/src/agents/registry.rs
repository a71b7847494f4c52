//! The fleet as it is now, and a way to each live session. Every change goes through here: it is
//! applied, and its effects are carried out, in the same order for all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{broadcast, mpsc, watch};

use super::calls::{CallError, UpgradeOrder};
use super::fleet::{BUDGET, Change, Effect, Fleet, Record, SessionNumber};
use super::register::{InstanceId, Register};
use super::session::{Order, Ticket};
use super::upgrade::Upgrade;
use crate::clock::Moment;
use crate::output;
use crate::store::Store;

/// The close code of a session whose instance id another session has taken.
pub const DOUBLED: u16 = 4409;

/// Sessions at once, registered or not.
const SESSIONS: usize = 20_000;
/// Orders that wait for one session, which takes them at once unless its agent reads nothing.
const ORDERS: usize = 256;
/// Names of changed instances that wait for one slow subscriber; older ones are lost to it.
const CHANGES: usize = 1024;

pub struct Registry {
    state: Mutex<State>,
    store: Store,
    numbers: AtomicU64,
    tickets: AtomicU64,
    /// Changes whenever an instance comes or goes.
    coming_and_going: watch::Sender<()>,
    changes: broadcast::Sender<InstanceId>,
}

#[derive(Default)]
struct State {
    fleet: Fleet,
    links: HashMap<SessionNumber, Link>,
}

/// A way to a session.
struct Link {
    orders: mpsc::Sender<Order>,
    replaced: watch::Sender<String>,
}

/// A session's place. It is freed by [`Registry::ended`].
pub struct Admitted {
    pub number: SessionNumber,
    pub orders: mpsc::Receiver<Order>,
    /// Changes, once at most, when the session has to close with [`DOUBLED`]; the reason. No order, for
    /// which there may be no place.
    pub replaced: watch::Receiver<String>,
}

/// Why an order did not reach an agent.
#[derive(Debug, PartialEq)]
pub enum Unreachable {
    Unknown,
    NotConnected,
    /// Its agent does not read, and too much waits for it already.
    Busy,
}

/// Why an instance was not forgotten.
#[derive(Debug, PartialEq)]
pub enum Unforgotten {
    Unknown,
    Connected,
}

impl Registry {
    /// With what the store has kept; nobody is connected yet.
    pub fn new(store: Store, kept: Vec<Record>) -> Registry {
        let mut fleet = Fleet::default();
        let now = Moment::now();
        for record in kept {
            let id = record.register.instance_id.clone();
            fleet.restore(record);
            let effects = fleet.apply(&id, Change::Restarted, now);
            // Else each restart would be the time since when it is lost.
            if effects.contains(&Effect::Save) {
                store.keep(Vec::new(), fleet.get(&id));
            }
        }
        let gone = fit_snapshots(&mut fleet, &store);
        complain(gone.len());
        Registry {
            state: Mutex::new(State { fleet, links: HashMap::new() }),
            store,
            numbers: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            coming_and_going: watch::Sender::new(()),
            changes: broadcast::Sender::new(CHANGES),
        }
    }

    /// For one more session.
    pub fn has_room(&self) -> bool {
        self.state.lock().links.len() < SESSIONS
    }

    pub fn admit(&self) -> Admitted {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, orders) = mpsc::channel(ORDERS);
        let (replace, replaced) = watch::channel(String::new());
        let link = Link { orders: sender, replaced: replace };
        self.state.lock().links.insert(number, link);
        Admitted { number, orders, replaced }
    }

    /// Of a new request.
    pub fn ticket(&self) -> Ticket {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The error is for the agent: there is no room for one more instance.
    pub fn registered(
        &self,
        number: SessionNumber,
        register: Register,
    ) -> Result<(), &'static str> {
        let id = register.instance_id.clone();
        let mut state = self.state.lock();
        if !state.fleet.has_room_for(&id) {
            return Err("this gateway has too many instances");
        }
        let line = json!({"instance": id, "session": number, "version": register.version,
                          "ip": register.ip, "os": register.os, "arch": register.arch});
        let change = Change::Registered { session: number, register: Box::new(register) };
        self.carry_out(&mut state, &id, change);
        let registers = state.fleet.get(&id).map(|record| record.registers);
        drop(state);
        let mut line = line;
        line["registers"] = json!(registers);
        output::event("registered", line);
        self.tell(&id, true);
        Ok(())
    }

    pub fn apply(&self, id: &InstanceId, change: Change) {
        let mut state = self.state.lock();
        let has_changed = self.carry_out(&mut state, id, change);
        let gone = fit_snapshots(&mut state.fleet, &self.store);
        drop(state);
        if has_changed {
            self.tell(id, false);
        }
        gone.iter().for_each(|id| self.tell(id, false));
        complain(gone.len());
    }

    /// Unless one is going on. What was asked is how it is kept.
    pub fn ask_upgrade(
        &self,
        id: &InstanceId,
        order: &UpgradeOrder,
        by: String,
    ) -> Result<Upgrade, CallError> {
        let mut state = self.state.lock();
        let going_on = state.fleet.get(id).and_then(|record| record.upgrade.as_ref());
        if let Some(upgrade) = going_on.filter(|upgrade| upgrade.is_going_on()) {
            return Err(CallError::UpgradeGoingOn(upgrade.version.clone()));
        }
        let (version, checksum_sha256) = (order.version.clone(), order.checksum_sha256.clone());
        let change = Change::UpgradeAsked { version, checksum_sha256, by };
        self.carry_out(&mut state, id, change);
        let asked = state.fleet.get(id).and_then(|record| record.upgrade.clone());
        drop(state);
        self.tell(id, false);
        asked.ok_or(CallError::Unknown)
    }

    /// Session `number` is over. Said once, whoever notices first.
    pub fn ended(&self, number: SessionNumber, id: Option<&InstanceId>, reason: &str) {
        self.state.lock().links.remove(&number);
        self.lost(number, id, reason);
    }

    /// Marks the instance as not connected *now*, so that a command given next sees it so, and
    /// gives its session the order that makes it true.
    pub fn dismiss(&self, id: &InstanceId, order: Order, reason: &str) -> Result<(), Unreachable> {
        let (number, orders) = self.live(id)?;
        self.lost(number, Some(id), reason);
        orders.try_send(order).map_err(|_| Unreachable::Busy)
    }

    pub fn order(&self, id: &InstanceId, order: Order) -> Result<(), Unreachable> {
        let (_, orders) = self.live(id)?;
        orders.try_send(order).map_err(|_| Unreachable::Busy)
    }

    /// For orders that must reach the same session as an earlier one.
    pub fn orders(&self, id: &InstanceId) -> Result<mpsc::Sender<Order>, Unreachable> {
        self.live(id).map(|(_, orders)| orders)
    }

    /// Looks at the fleet as it is now. Nothing else happens meanwhile: `look` must be short.
    pub fn read<T>(&self, look: impl FnOnce(&Fleet) -> T) -> T {
        look(&self.state.lock().fleet)
    }

    pub fn is_connected(&self, id: &InstanceId) -> bool {
        self.read(|fleet| fleet.get(id).is_some_and(|record| record.live.is_some()))
    }

    pub fn upgrades_going_on(&self) -> Vec<(InstanceId, Moment)> {
        self.read(|fleet| {
            let going_on = fleet.iter().filter_map(|record| {
                let upgrade = record.upgrade.as_ref().filter(|upgrade| upgrade.is_going_on())?;
                Some((record.register.instance_id.clone(), upgrade.requested_at))
            });
            going_on.collect()
        })
    }

    /// With all that is stored of it. Unless it is connected: then it would be back at once.
    pub fn forget(&self, id: &InstanceId) -> Result<(), Unforgotten> {
        let mut state = self.state.lock();
        let record = state.fleet.get(id).ok_or(Unforgotten::Unknown)?;
        if record.live.is_some() {
            return Err(Unforgotten::Connected);
        }
        state.fleet.forget(id);
        self.store.forget(id.clone());
        drop(state);
        self.tell(id, true);
        Ok(())
    }

    /// With all that is stored of them.
    pub fn forget_lost_for(&self, time: Duration) {
        let mut state = self.state.lock();
        let forgotten = state.fleet.lost_for(time, Moment::now());
        for id in &forgotten {
            state.fleet.forget(id);
            self.store.forget(id.clone());
        }
        drop(state);
        for id in &forgotten {
            self.tell(id, true);
        }
    }

    pub fn coming_and_going(&self) -> watch::Receiver<()> {
        self.coming_and_going.subscribe()
    }

    /// Names instances as something about them changes: their status, their snapshot, an upgrade; and those
    /// that are forgotten.
    pub fn changes(&self) -> broadcast::Receiver<InstanceId> {
        self.changes.subscribe()
    }

    fn live(&self, id: &InstanceId) -> Result<(SessionNumber, mpsc::Sender<Order>), Unreachable> {
        let state = self.state.lock();
        let record = state.fleet.get(id).ok_or(Unreachable::Unknown)?;
        let number = record.live.ok_or(Unreachable::NotConnected)?.session;
        let link = state.links.get(&number).ok_or(Unreachable::NotConnected)?;
        Ok((number, link.orders.clone()))
    }

    fn lost(&self, number: SessionNumber, id: Option<&InstanceId>, reason: &str) {
        if let Some(id) = id {
            let change = Change::Lost { session: number, reason: reason.to_owned() };
            if !self.carry_out(&mut self.state.lock(), id, change) {
                return;
            }
        }
        output::event("disconnected", json!({"instance": id, "session": number, "reason": reason}));
        if let Some(id) = id {
            self.tell(id, true);
        }
    }

    /// Whether anything came of it. Under the lock: events are stored in the order in which they
    /// happened.
    fn carry_out(&self, state: &mut State, id: &InstanceId, change: Change) -> bool {
        let effects = state.fleet.apply(id, change, Moment::now());
        if effects.is_empty() {
            return false;
        }
        let (mut events, mut save) = (Vec::new(), false);
        for effect in effects {
            match effect {
                Effect::Close(number) => replaced(state, number, id),
                Effect::Tell(event) => events.push(event),
                Effect::KeepSnapshot(snapshot) => self.store.snapshot(id.clone(), snapshot),
                Effect::Save => save = true,
            }
        }
        self.store.keep(events, state.fleet.get(id).filter(|_| save));
        true
    }

    fn tell(&self, id: &InstanceId, came_or_went: bool) {
        // Nobody listens: then nobody is told.
        let _ = self.changes.send(id.clone());
        if came_or_went {
            self.coming_and_going.send_replace(());
        }
    }
}

/// On the disk too. Whose snapshots have gone.
fn fit_snapshots(fleet: &mut Fleet, store: &Store) -> Vec<InstanceId> {
    let gone = fleet.fit_snapshots(BUDGET);
    gone.iter().for_each(|id| store.drop_snapshot(id.clone()));
    gone
}

/// Not under a lock: whoever reads the log may pause.
fn complain(count: usize) {
    if count > 0 {
        let mib = BUDGET >> 20;
        tracing::warn!(count, "the latest snapshots take over {mib} MiB: so many are left out");
    }
}

fn replaced(state: &mut State, number: SessionNumber, id: &InstanceId) {
    let reason = format!("another session has registered as {id}");
    output::event("disconnected", json!({"instance": id, "session": number, "reason": reason}));
    if let Some(link) = state.links.get(&number) {
        link.replaced.send_replace(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (Registry, Register, InstanceId) {
        let (store, kept) = Store::open(None).unwrap();
        let register = json!({"version": "1.0.0", "instance_id": "web-1", "ip": "192.0.2.1",
                              "os": "linux", "arch": "amd64"});
        let register = Register::read(register).unwrap();
        let id = register.instance_id.clone();
        (Registry::new(store, kept), register, id)
    }

    #[test]
    fn all_who_listen_hear_that_an_instance_is_forgotten() {
        let (registry, register, id) = registry();
        let admitted = registry.admit();
        registry.registered(admitted.number, register).unwrap();
        registry.ended(admitted.number, Some(&id), "gone");
        let (mut changes, coming_and_going) = (registry.changes(), registry.coming_and_going());
        std::thread::sleep(Duration::from_millis(5));
        registry.forget_lost_for(Duration::ZERO);
        assert!(registry.read(|fleet| fleet.get(&id).is_none()));
        assert_eq!(changes.try_recv(), Ok(id));
        assert!(coming_and_going.has_changed().unwrap());
    }

    /// As of an agent that has read nothing for a while.
    #[test]
    fn a_replaced_session_is_told_however_many_orders_wait_for_it() {
        let (registry, register, id) = registry();
        let (older, newer) = (registry.admit(), registry.admit());
        registry.registered(older.number, register.clone()).unwrap();
        while registry.order(&id, Order::Send(String::new())).is_ok() {}
        assert_eq!(*older.replaced.borrow(), "");
        registry.registered(newer.number, register).unwrap();
        assert_eq!(*older.replaced.borrow(), "another session has registered as web-1");
        assert_eq!(*newer.replaced.borrow(), "");
    }
}
