//! What has happened before the gateway starts: records, snapshots and 30 days of history, written as the
//! gateway itself writes them.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use vmkit_gateway::agents::events::{Event, What};
use vmkit_gateway::agents::fleet::{Change, Fleet};
use vmkit_gateway::agents::register::Register;
use vmkit_gateway::agents::snapshot::{Point, Snapshot};
use vmkit_gateway::clock::Moment;
use vmkit_gateway::store::Store;
use vmkit_gateway::store::history::{Folding, insert};

use super::agent::snapshot;
use super::cast::{Fate, Instance};

const DAY: i64 = 24 * 3600;
const DAYS: i64 = 30;
/// Of those with a whole past; the others have a day.
const OLD: usize = 12;

type Failure = Box<dyn std::error::Error>;

pub fn write(folder: &Path, cast: &[Instance]) -> Result<(), Failure> {
    let now = Moment::now();
    records(folder, cast, now)?;
    let mut connection = Connection::open(folder.join("gateway.db"))?;
    connection.pragma_update(None, "synchronous", "off")?;
    let mut folding = Folding::default();
    let last = now.secs() / 3600;
    for hour in last - DAYS * 24..=last {
        let transaction = connection.transaction()?;
        // So that the hour before is folded, before it would be deleted.
        for _ in 0..cast.len() / 20 + 4 {
            folding.go_on(&transaction, Moment::from_secs(hour * 3600 + 120))?;
        }
        let recent = hour >= last - 25;
        for (n, instance) in cast.iter().enumerate().filter(|(n, _)| recent || *n < OLD) {
            let step = if recent { 1 } else { 10 };
            for minute in (hour * 60..hour * 60 + 60).step_by(step) {
                let until = now.secs() - lost_secs(instance, n);
                if minute * 60 < until && !is_gap(n as i64, minute) {
                    let at = Moment::from_secs(minute * 60 + 7);
                    insert(&transaction, n as i64 + 1, at, point(instance, n as i64, minute))?;
                }
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Instances are numbered in the order in which they are kept.
fn records(folder: &Path, cast: &[Instance], now: Moment) -> Result<(), Failure> {
    let (store, _) = Store::open(Some(folder))?;
    let mut committed = store.committed();
    let ago = |secs: i64| Moment::from_secs(now.secs() - secs);
    for (n, instance) in cast.iter().enumerate() {
        let register = Register::read(instance.register.clone())?;
        let id = register.instance_id.clone();
        let mut fleet = Fleet::default();
        let first = Change::Registered { session: 1, register: Box::new(register) };
        fleet.apply(&id, first, ago(DAYS * DAY - n as i64 * 7000));
        if instance.fate == Fate::Lost {
            let reason = "no pong within 10 s".to_owned();
            let at = ago(lost_secs(instance, n));
            fleet.apply(&id, Change::Lost { session: 1, reason }, at);
        }
        let what =
            What::Connected { version: "1.3.0".into(), ip: "10.0.0.1".into(), replaced: false };
        let event = Event { at: ago(DAYS * DAY), instance: Some(id.clone()), what };
        store.keep(vec![event], fleet.get(&id));
        // One after the other, so that each has its number.
        while *committed.borrow_and_update() < n as i64 + 1 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let at = ago(60 + lost_secs(instance, n));
        let snapshot = Snapshot::read(snapshot(instance, n as f64), at)?;
        store.snapshot(id, Arc::new(snapshot));
    }
    store.end();
    Ok(())
}

/// How long ago it was lost.
fn lost_secs(instance: &Instance, n: usize) -> i64 {
    if instance.fate == Fate::Lost { 1800 + n as i64 * 400 } else { 0 }
}

fn is_gap(n: i64, minute: i64) -> bool {
    let hour = minute / 60;
    (hour + n * 5) % 41 < 2 || (n % 3 == 1 && (minute + n * 31) % 700 < 25)
}

fn age_days(minute: i64) -> f64 {
    (Moment::now().secs() - minute * 60) as f64 / DAY as f64
}

/// Between -0.5 and 0.5, the same each time.
fn noise(minute: i64, n: i64) -> f64 {
    let mut mixed = (minute * 40 + n) as u64;
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    }
    (mixed >> 48) as f64 / 65_536.0 - 0.5
}

/// Days and weeks that look like days and weeks.
fn point(instance: &Instance, n: i64, minute: i64) -> Point {
    let of_day = minute as f64 / 1440.0 * std::f64::consts::TAU;
    let wave = (of_day + n as f64).sin() * 0.5 + (of_day / 7.0).sin() * 0.25;
    let noise = noise(minute, n) * 0.6 + noise(minute / 17, n) * 0.8;
    let spike = if (minute / 25 + n * 17) % 61 == 0 { 30.0 + noise * 20.0 } else { 0.0 };
    let [cpu, mem, disk] = instance.levels;
    let tenths = |value: f64| Some((value.clamp(0.0, 100.0) * 10.0) as u16);
    let grown = disk - age_days(minute) * 0.3;
    Point {
        values: [
            tenths(cpu + wave * cpu * 0.8 + noise * 8.0 + spike),
            tenths(mem + wave * 6.0 + noise * 1.5),
            tenths(grown + noise * 0.3),
            Some(instance.containers.len() as u16 - u16::from((minute / 600 + n) % 9 == 0)),
        ],
    }
}
