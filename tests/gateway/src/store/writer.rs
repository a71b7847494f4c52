//! The only one who writes what agents tell: a thread that takes what has come and commits it, at once
//! if an event is among it, else each second. An event is told only when it is committed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::watch;

use super::error::Result;
use super::events::{self, EventId};
use super::history::{self, Folding};
use super::instances::{self, Number};
use super::queue::{Batch, Queue};
use super::sessions::{self, Change};
use crate::agents::register::InstanceId;
use crate::clock::Moment;

const TICK: Duration = Duration::from_secs(1);
/// Between two words about the same failing disk.
const SILENCE: Duration = Duration::from_secs(60);

pub struct Writer {
    pub connection: Connection,
    pub queue: Arc<Queue>,
    pub numbers: HashMap<InstanceId, Number>,
    /// The last event that may be shown.
    pub committed: watch::Sender<EventId>,
    /// Changes when another process has written: then keys may have been revoked.
    pub changed_outside: watch::Sender<()>,
    /// Changes when someone has signed out.
    pub signed_out: watch::Sender<()>,
}

impl Writer {
    /// Returns when the queue has ended and is empty, or can't be written.
    pub fn run(mut self) {
        let mut folding = Folding::default();
        let mut version = data_version(&self.connection);
        let mut tick = Instant::now() + TICK;
        let (mut complained, mut lost) = (None, 0);
        while let Some(batch) = self.queue.take(tick) {
            let due = Instant::now() >= tick;
            let outcome = self.commit(&batch, due.then_some(&mut folding));
            if let Err(error) = outcome {
                if self.queue.is_ending() {
                    tracing::error!(%error, "the last data from agents can't be stored and is lost");
                    return;
                }
                if is_time(&mut complained) {
                    tracing::error!(%error, "what agents tell can't be stored; trying again");
                }
                self.queue.put_back(batch);
                std::thread::sleep(TICK);
            } else {
                lost += batch.lost_events;
                if lost > 0 && is_time(&mut complained) {
                    tracing::error!(count = lost, "events were lost: too many at once");
                    lost = 0;
                }
                self.tell_of(batch.sessions);
            }
            if due {
                tick = Instant::now() + TICK;
                let now = data_version(&self.connection);
                if now != version {
                    version = now;
                    self.changed_outside.send_replace(());
                }
            }
        }
    }

    fn commit(&mut self, batch: &Batch, folding: Option<&mut Folding>) -> Result<()> {
        if batch.is_empty() && folding.is_none() {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        for id in &batch.forgotten {
            if let Some(no) = self.numbers.get(id) {
                instances::forget(&transaction, *no)?;
            }
        }
        if !batch.forgotten.is_empty() {
            history::delete_of_nobody(&transaction)?;
        }
        // Only once they are committed do these numbers exist, and have the others gone.
        let mut numbers = HashMap::new();
        for (id, record) in &batch.records {
            numbers.insert(id.clone(), instances::save(&transaction, record)?);
        }
        let known =
            |id: &InstanceId| self.numbers.get(id).filter(|_| !batch.forgotten.contains(id));
        let number = |id: &InstanceId| numbers.get(id).or_else(|| known(id)).copied();
        let mut last = None;
        for event in &batch.events {
            let no = event.instance.as_ref().and_then(number);
            last = Some(events::insert(&transaction, event, no)?);
        }
        for (id, snapshot) in &batch.snapshots {
            if let Some(no) = number(id) {
                instances::save_snapshot(&transaction, no, snapshot)?;
                history::insert(&transaction, no, snapshot.at, snapshot.point)?;
            }
        }
        for id in &batch.dropped_snapshots {
            if let Some(no) = number(id) {
                instances::delete_snapshot(&transaction, no)?;
            }
        }
        for change in &batch.sessions {
            sessions::apply(&transaction, change, Moment::now())?;
        }
        // Nor is an hour folded before it is committed: what fails is folded again.
        let mut folded = folding.as_deref().copied();
        if let Some(folded) = &mut folded {
            folded.go_on(&transaction, Moment::now())?;
            events::delete_old(&transaction)?;
        }
        transaction.commit()?;

        if let (Some(folding), Some(folded)) = (folding, folded) {
            *folding = folded;
        }
        self.numbers.retain(|id, _| !batch.forgotten.contains(id));
        self.numbers.extend(numbers);
        if let Some(last) = last {
            self.committed.send_replace(last);
        }
        Ok(())
    }

    fn tell_of(&self, sessions: VecDeque<Change>) {
        if sessions.iter().any(Change::ends_some) {
            self.signed_out.send_replace(());
        }
        for change in sessions {
            let _ = change.done.send(());
        }
    }
}

/// For one more word in the log.
fn is_time(complained: &mut Option<Instant>) -> bool {
    let is_time = complained.is_none_or(|at| at.elapsed() > SILENCE);
    if is_time {
        *complained = Some(Instant::now());
    }
    is_time
}

/// Changes only by what other connections commit.
fn data_version(connection: &Connection) -> i64 {
    connection.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agents::fleet::{self, Fleet};
    use crate::agents::register::Register;
    use crate::agents::snapshot::Snapshot;
    use crate::store::place::{Place, migrate};

    const INSTANCES: i64 = 45;

    fn writer() -> Writer {
        let mut connection = Place::memory().unwrap().open().unwrap();
        migrate(&mut connection).unwrap();
        Writer {
            connection,
            queue: Arc::default(),
            numbers: HashMap::new(),
            committed: watch::Sender::new(0),
            changed_outside: watch::Sender::new(()),
            signed_out: watch::Sender::new(()),
        }
    }

    /// A full disk shows at the commit, when all statements have succeeded.
    const BREAK: &str = "
        PRAGMA foreign_keys = on;
        CREATE TABLE full (no REFERENCES instances (no) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER break AFTER INSERT ON history BEGIN INSERT INTO full VALUES (-1); END;";
    const MEND: &str = "DROP TRIGGER break; DROP TABLE full;";

    #[test]
    fn what_a_failed_commit_has_folded_is_folded_again() {
        let mut writer = writer();
        let hour = Moment::now().secs() / 3600 - 3;
        let connection = &writer.connection;
        let mark = "INSERT INTO marks VALUES ('folded_before', ?1)";
        connection.execute(mark, [hour]).unwrap();
        for no in 1..=INSTANCES {
            let insert = "INSERT INTO instances (no, id, record) VALUES (?1, ?1, '')";
            connection.execute(insert, [no]).unwrap();
            let insert = "INSERT INTO recent (minute, instance, cpu) VALUES (?1, ?2, 1)";
            connection.execute(insert, [hour * 60, no]).unwrap();
        }
        let (mut folding, batch) = (Folding::default(), Batch::default());
        writer.commit(&batch, Some(&mut folding)).unwrap();
        writer.connection.execute_batch(BREAK).unwrap();
        let error = writer.commit(&batch, Some(&mut folding)).unwrap_err();
        assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
        writer.connection.execute_batch(MEND).unwrap();
        // Until the hour is marked, and its rows are deleted.
        for _ in 0..10 {
            writer.commit(&batch, Some(&mut folding)).unwrap();
        }
        let count =
            |select| -> i64 { writer.connection.query_row(select, [], |row| row.get(0)).unwrap() };
        assert_eq!(count("SELECT count(*) FROM recent"), 0);
        assert_eq!(count("SELECT count(*) FROM history WHERE step = 60"), INSTANCES);
    }

    /// How many instances, latest snapshots and points there are once this is written.
    fn rows_after(writer: &mut Writer, batch: &Batch) -> [i64; 3] {
        writer.commit(batch, None).unwrap();
        ["instances", "snapshots", "recent"].map(|table| {
            let select = format!("SELECT count(*) FROM {table}");
            writer.connection.query_row(&select, [], |row| row.get(0)).unwrap()
        })
    }

    #[test]
    fn a_snapshot_that_is_dropped_leaves_its_point_and_a_forgotten_instance_nothing() {
        let mut writer = writer();
        let insert = "INSERT INTO instances (no, id, record) VALUES (1, 'web-1', '')";
        writer.connection.execute(insert, []).unwrap();
        let id = InstanceId::try_from("web-1".to_owned()).unwrap();
        writer.numbers.insert(id.clone(), 1);
        let snapshot = || Snapshot::read(json!({"cpu_pct": 1}), Moment::now()).unwrap().into();
        let mut rows = |batch: &Batch| rows_after(&mut writer, batch);
        let mut batch = Batch::default();
        batch.add_snapshot(id.clone(), snapshot());
        batch.dropped_snapshots.insert(id.clone());
        assert_eq!(rows(&batch), [1, 0, 1]);
        batch.add_snapshot(id.clone(), snapshot());
        assert_eq!(rows(&batch), [1, 1, 1], "one that comes later is kept");
        batch.forgotten.insert(id);
        assert_eq!(rows(&batch), [0, 0, 0]);
    }

    #[test]
    fn an_instance_that_was_forgotten_begins_anew() {
        let mut writer = writer();
        let id = InstanceId::try_from("web-1".to_owned()).unwrap();
        let record = || {
            let register = json!({"version": "1", "instance_id": "web-1", "ip": "::1", "os": "linux",
                                  "arch": "amd64"});
            let register = Box::new(Register::read(register).unwrap());
            let mut fleet = Fleet::default();
            let change = fleet::Change::Registered { session: 1, register };
            fleet.apply(&id, change, Moment::now());
            fleet.get(&id).unwrap().clone()
        };
        let snapshot = || Snapshot::read(json!({"cpu_pct": 1}), Moment::now()).unwrap().into();
        let mut rows = |fill: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::default();
            fill(&mut batch);
            rows_after(&mut writer, &batch)
        };
        let tell = |batch: &mut Batch| {
            batch.add_record(record());
            batch.add_snapshot(id.clone(), snapshot());
        };
        assert_eq!(rows(&tell), [1, 1, 1]);
        let back = |batch: &mut Batch| {
            tell(batch);
            batch.forget(id.clone());
            batch.add_record(record());
        };
        assert_eq!(rows(&back), [1, 0, 0], "what was told before is gone");
        assert_eq!(rows(&|batch| batch.add_snapshot(id.clone(), snapshot())), [1, 1, 1]);
    }
}
