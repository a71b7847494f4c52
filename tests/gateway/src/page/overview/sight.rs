//! Finds the instances to show, and sorts them: what is wrong first, by how bad it is. Pure. It looks at
//! the whole fleet while nothing else can, so it copies only what is shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use semver::Version;

use super::query::{Filter, Show};
use crate::agents::fleet::Fleet;
use crate::agents::rank::{Rank, is_behind, newest, rank, versions, wrong};
use crate::agents::register::InstanceId;
use crate::agents::view::Summary;
use crate::clock::Moment;

/// Of one page.
pub const ROWS: usize = 50;
/// Labels to choose from: a label with more values is one to search for.
const VALUES: usize = 24;
/// The names that most instances have.
const NAMES: usize = 12;
const CANDIDATES: usize = 1000;

pub struct Sight {
    pub totals: Totals,
    /// The newest version in the fleet.
    pub newest: Option<Version>,
    /// How many instances have each version, the newest first.
    pub versions: Vec<(String, usize)>,
    /// Values by the names of labels.
    pub labels: BTreeMap<String, Vec<String>>,
    /// How many the filter lets through, and those of them that need attention.
    pub found: usize,
    pub wrong: usize,
    pub page: usize,
    pub pages: usize,
    pub rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub all: usize,
    pub lost: usize,
    pub wrong: usize,
    pub behind: usize,
}

pub struct Row {
    pub summary: Summary,
    pub rank: Rank,
    /// Everything that is wrong, in words, the worst first.
    pub wrong: Vec<String>,
}

pub fn look(fleet: &Fleet, filter: &Filter, now: Moment) -> Sight {
    let versions = versions(fleet);
    let newest = newest(&versions);
    let mut totals = Totals::default();
    let mut found: Vec<(Rank, Reverse<Moment>, &InstanceId)> = Vec::new();
    for record in fleet.iter() {
        let (rank, since) = rank(record, newest.as_ref(), now);
        totals.all += 1;
        totals.lost += usize::from(rank == Rank::Lost);
        totals.wrong += usize::from(rank != Rank::Fine);
        let behind = is_behind(record, newest.as_ref());
        totals.behind += usize::from(behind);
        let shown = match filter.show {
            Show::All => true,
            Show::Wrong => rank != Rank::Fine,
            Show::Lost => rank == Rank::Lost,
            Show::Behind => behind,
        };
        if shown && filter.matches(record) {
            found.push((rank, since, &record.register.instance_id));
        }
    }
    found.sort_unstable();
    let pages = found.len().div_ceil(ROWS).max(1);
    let page = filter.page.min(pages - 1);
    let ids = found.iter().skip(page * ROWS).take(ROWS);
    let records = ids.filter_map(|(rank, _, id)| Some((*rank, fleet.get(id)?)));
    let rows = records.map(|(rank, record)| Row {
        summary: Summary::of(record, now),
        rank,
        wrong: wrong(record, newest.as_ref(), now),
    });
    Sight {
        totals,
        labels: labels(fleet),
        found: found.len(),
        wrong: found.iter().filter(|(rank, ..)| *rank != Rank::Fine).count(),
        page,
        pages,
        rows: rows.collect(),
        newest,
        versions,
    }
}

fn labels(fleet: &Fleet) -> BTreeMap<String, Vec<String>> {
    let mut found: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    for (name, value) in fleet.iter().flat_map(|record| &record.register.labels) {
        if found.len() < CANDIDATES || found.contains_key(name.as_str()) {
            let (count, values) = found.entry(name).or_default();
            *count += 1;
            if values.len() <= VALUES && !values.contains(&value.as_str()) {
                values.push(value);
            }
        }
    }
    found.retain(|_, (_, values)| values.len() <= VALUES);
    let mut found: Vec<(&str, (usize, Vec<&str>))> = found.into_iter().collect();
    found.sort_unstable_by_key(|(name, (count, _))| (Reverse(*count), *name));
    let owned = found.into_iter().take(NAMES).map(|(name, (_, mut values))| {
        values.sort_unstable();
        (name.to_owned(), values.into_iter().map(str::to_owned).collect())
    });
    owned.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::agents::fleet::Change;
    use crate::agents::register::Register;
    use crate::agents::snapshot::Snapshot;

    struct World {
        fleet: Fleet,
        sessions: u64,
    }

    impl World {
        fn add(&mut self, id: &str, version: &str, snapshot: Value) -> InstanceId {
            self.sessions += 1;
            let params = json!({"version": version, "instance_id": id, "ip": "192.0.2.7", "os": "linux",
                                "arch": "amd64", "labels": {"env": "prod", "n": id}});
            let register = Register::read(params).unwrap();
            let id = register.instance_id.clone();
            let (session, register) = (self.sessions, Box::new(register));
            let now = Moment::from_secs(1000);
            self.fleet.apply(&id, Change::Registered { session, register }, now);
            let snapshot = Arc::new(Snapshot::read(snapshot, now).unwrap());
            self.fleet.apply(&id, Change::Snapshot { session, snapshot }, now);
            id
        }

        fn lose(&mut self, id: &InstanceId, session: u64, secs: i64) {
            let change = Change::Lost { session, reason: "gone".to_owned() };
            self.fleet.apply(id, change, Moment::from_secs(secs));
        }
    }

    fn world() -> World {
        let mut world = World { fleet: Fleet::default(), sessions: 0 };
        let containers = |state: &str, health: &str, code: Value| json!({"containers": [{"name": "c", "state": state, "health": health, "exit_code": code}]});
        let a = world.add("a", "1.10.0", json!({}));
        world.add("b", "1.9.0", json!({}));
        world.add("c", "1.10.0", json!({"disk_pct": 97}));
        world.add("d", "1.10.0", containers("running", "unhealthy", Value::Null));
        world.add("e", "1.10.0", containers("restarting", "none", json!(1)));
        let f = world.add("f", "1.10.0", json!({}));
        world.add("g", "not a version", containers("exited", "none", json!(3)));
        world.add("h", "1.10.0", json!({}));
        world.lose(&a, 1, 2000);
        world.lose(&f, 6, 3000);
        world
    }

    fn ids(sight: &Sight) -> Vec<&str> {
        sight.rows.iter().map(|row| row.summary.common.id.as_str()).collect()
    }

    #[test]
    fn what_is_wrong_comes_first_and_the_worst_before_all() {
        let world = world();
        let sight = look(&world.fleet, &Filter::default(), Moment::from_secs(4000));
        assert_eq!(ids(&sight), ["f", "a", "e", "d", "g", "c", "b", "h"]);
        assert_eq!(sight.totals, Totals { all: 8, lost: 2, wrong: 7, behind: 1 });
        assert_eq!(sight.rows[0].wrong, ["agent lost: gone"]);
        assert_eq!(sight.rows[6].wrong, ["version 1.9.0 is older than the newest, 1.10.0"]);
        assert_eq!(sight.versions[0], ("1.10.0".to_owned(), 6));
    }

    #[test]
    fn filters() {
        let world = world();
        let see = |filter: Filter| {
            let sight = look(&world.fleet, &filter, Moment::from_secs(4000));
            (ids(&sight).join(""), sight.found, sight.wrong)
        };
        let text = |text: &str| Filter { text: text.to_owned(), ..Filter::default() };
        assert_eq!(see(text("N=B")), ("b".to_owned(), 1, 1));
        assert_eq!(see(text("nothing")), (String::new(), 0, 0));
        assert_eq!(see(Filter { show: Show::Lost, ..Filter::default() }), ("fa".to_owned(), 2, 2));
        assert_eq!(see(Filter { show: Show::Behind, ..Filter::default() }).0, "b");
        assert_eq!(see(Filter { show: Show::Wrong, ..Filter::default() }).1, 7);
        let labels = vec![("env".to_owned(), "prod".to_owned()), ("n".to_owned(), "h".to_owned())];
        assert_eq!(see(Filter { labels, ..Filter::default() }), ("h".to_owned(), 1, 0));
    }

    #[test]
    fn a_page_after_the_last_is_the_last() {
        let mut world = World { fleet: Fleet::default(), sessions: 0 };
        for n in 0..ROWS + 1 {
            world.add(&format!("{n:03}"), "1.0.0", json!({}));
        }
        let sight = |page| {
            look(&world.fleet, &Filter { page, ..Filter::default() }, Moment::from_secs(4000))
        };
        assert_eq!((sight(0).rows.len(), sight(0).pages), (ROWS, 2));
        assert_eq!(ids(&sight(9)), ["050"]);
        assert!(sight(0).labels.contains_key("env"));
        assert!(!sight(0).labels.contains_key("n"), "it has a value for each instance");
    }
}
