//! What the latest snapshots of all instances take together, and which go where that is too much. Their
//! instances stay, and so does their history.

use std::cmp::Reverse;

use super::{Fleet, Record};
use crate::agents::register::InstanceId;
use crate::clock::Moment;

/// In bytes.
pub const BUDGET: usize = 512 << 20;

impl Fleet {
    /// Those whose snapshots went. A part is freed beyond what must be, so that this is seldom done.
    pub fn fit_snapshots(&mut self, budget: usize) -> Vec<InstanceId> {
        let mut gone = Vec::new();
        if self.snapshot_bytes <= budget {
            return gone;
        }
        let mut all: Vec<&mut Record> =
            self.records.values_mut().filter(|record| record.snapshot.is_some()).collect();
        all.sort_by_key(|record| worth(record));
        for record in all {
            if self.snapshot_bytes <= budget - budget / 8 {
                break;
            }
            self.snapshot_bytes -= record.snapshot_bytes();
            record.snapshot = None;
            gone.push(record.register.instance_id.clone());
        }
        gone
    }

    pub(super) fn snapshot_bytes_of(&self, id: &InstanceId) -> usize {
        self.records.get(id).map_or(0, Record::snapshot_bytes)
    }
}

impl Record {
    pub(super) fn snapshot_bytes(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.text.get().len())
    }
}

/// The least goes first: of those that are lost, the one that is lost for the longest. Then the largest,
/// which is no honest agent's.
fn worth(record: &Record) -> (bool, Moment, Reverse<usize>) {
    match record.live {
        Some(_) => (true, Moment::default(), Reverse(record.snapshot_bytes())),
        None => {
            let lost_at = record.loss.as_ref().map_or(record.last_seen, |loss| loss.at);
            (false, lost_at, Reverse(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::agents::fleet::Change;
    use crate::agents::register::Register;
    use crate::agents::snapshot::Snapshot;

    /// Each lost a second later than the one before; 0 is not lost.
    const FLEET: [(&str, usize, i64); 5] =
        [("a", 90, 3), ("b", 100, 0), ("c", 90, 1), ("d", 300, 0), ("e", 90, 2)];

    fn fleet() -> Fleet {
        let mut fleet = Fleet::default();
        for ((name, length, lost), session) in FLEET.into_iter().zip(1..) {
            let register = json!({"version": "1", "instance_id": name, "ip": "::1", "os": "linux",
                                  "arch": "amd64"});
            let register = Box::new(Register::read(register).unwrap());
            let id = register.instance_id.clone();
            let now = Moment::from_secs(lost);
            fleet.apply(&id, Change::Registered { session, register }, now);
            for length in [length / 2, length] {
                let told = json!({"text": "x".repeat(length - r#"{"text":""}"#.len())});
                let snapshot = Arc::new(Snapshot::read(told, now).unwrap());
                fleet.apply(&id, Change::Snapshot { session, snapshot }, now);
            }
            if lost > 0 {
                fleet.apply(&id, Change::Lost { session, reason: String::new() }, now);
            }
        }
        fleet
    }

    #[test]
    fn those_that_are_lost_for_the_longest_go_first_and_then_the_largest() {
        let all = FLEET.iter().map(|(_, length, _)| length).sum();
        let gone = |budget| -> Vec<String> {
            let mut fleet = fleet();
            let gone = fleet.fit_snapshots(budget);
            assert_eq!(fleet.iter().count(), FLEET.len(), "the instances stay");
            let left: usize = fleet.iter().map(Record::snapshot_bytes).sum();
            assert_eq!(left, fleet.snapshot_bytes);
            assert!(fleet.fit_snapshots(budget).is_empty() && left <= budget);
            gone.iter().map(ToString::to_string).collect()
        };
        assert!(gone(all).is_empty());
        assert_eq!(gone(all - 1), ["c"]);
        assert_eq!(gone(500), ["c", "e", "a"]);
        assert_eq!(gone(399), ["c", "e", "a", "d"]);
    }

    #[test]
    fn what_is_forgotten_or_restored_counts_too() {
        let mut fleet = fleet();
        let mut other = Fleet::default();
        fleet.iter().for_each(|record| other.restore(record.clone()));
        assert_eq!(other.snapshot_bytes, fleet.snapshot_bytes);
        for (name, ..) in FLEET {
            fleet.forget(&InstanceId::try_from(name.to_owned()).unwrap());
        }
        assert_eq!(fleet.snapshot_bytes, 0);
    }
}
