//! An instance as it is shown: by REST, by MCP, on the page and by commands.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::fleet::Record;
use super::register::{Host, InstanceId, UpgradeState};
use super::snapshot::{Point, Snapshot};
use super::status::{Status, status};
use super::upgrade::Upgrade;
use crate::clock::Moment;

/// What JSON adds to what an agent says of itself, and its numbers.
const LEAST: usize = 1024;

/// All that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Instance {
    #[serde(flatten)]
    pub common: Common,
    /// The latest snapshot as the agent sent it, or null.
    #[schema(value_type = Option<Object>)]
    pub metrics: Option<Box<RawValue>>,
}

/// One of a list: of the latest snapshot only the numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Summary {
    #[serde(flatten)]
    pub common: Common,
    pub metrics: Option<Numbers>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Common {
    pub id: InstanceId,
    #[serde(flatten)]
    pub status: Status,
    pub agent_version: String,
    pub ip: String,
    pub os: String,
    pub arch: String,
    pub labels: BTreeMap<String, String>,
    pub host: Option<Host>,
    pub build: Option<String>,
    pub boot_id: Option<String>,
    pub protocol: Option<u32>,
    pub capabilities: BTreeSet<String>,
    /// How often it has registered.
    pub registers: u64,
    pub first_seen: Moment,
    /// The last upgrade that this gateway asked for.
    pub upgrade: Option<Upgrade>,
    /// What the agent said of upgrades when it registered.
    pub upgrade_state: Option<UpgradeState>,
    pub metrics_received_at: Option<Moment>,
}

/// Per cents; null is what the agent could not read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Numbers {
    pub cpu_pct: Option<f64>,
    pub mem_pct: Option<f64>,
    pub disk_pct: Option<f64>,
    pub container_count: Option<f64>,
}

impl Instance {
    pub fn of(record: &Record, now: Moment) -> Instance {
        let metrics = record.snapshot.as_ref().map(|snapshot| snapshot.text.clone());
        Instance { common: Common::of(record, now), metrics }
    }
}

impl Summary {
    pub fn of(record: &Record, now: Moment) -> Summary {
        let metrics = record.snapshot.as_ref().map(|snapshot| Numbers::of(snapshot));
        Summary { common: Common::of(record, now), metrics }
    }
}

impl Common {
    fn of(record: &Record, now: Moment) -> Common {
        let register = &record.register;
        Common {
            id: register.instance_id.clone(),
            status: status(record, now),
            agent_version: register.version.clone(),
            ip: register.ip.clone(),
            os: register.os.clone(),
            arch: register.arch.clone(),
            labels: register.labels.clone(),
            host: register.host.clone(),
            build: register.build.clone(),
            boot_id: register.boot_id.clone(),
            protocol: register.protocol,
            capabilities: register.capabilities.clone(),
            registers: record.registers,
            first_seen: record.first_seen,
            upgrade: record.upgrade.clone(),
            upgrade_state: register.upgrade.clone(),
            metrics_received_at: record.snapshot.as_ref().map(|snapshot| snapshot.at),
        }
    }
}

impl Numbers {
    pub fn of(snapshot: &Snapshot) -> Numbers {
        let mut values = snapshot.point.values.iter().zip(Point::SCALES);
        let mut next =
            || values.next().and_then(|(value, scale)| Some(f64::from((*value)?) / scale));
        Numbers { cpu_pct: next(), mem_pct: next(), disk_pct: next(), container_count: next() }
    }
}

/// About so many bytes of JSON in a list. Looked at under the fleet's lock, so nothing is copied for it.
pub fn weight(record: &Record) -> usize {
    let said = bytes(&record.register) + bytes(&record.upgrade);
    let troubles = record.snapshot.iter().flat_map(|snapshot| &snapshot.troubles.first);
    let wrong: usize = troubles.map(|trouble| bytes(&trouble.words)).sum();
    // The reason of a loss is also what is wrong.
    LEAST + said + wrong + 2 * bytes(&record.loss)
}

/// With all escapes: a control character takes six.
fn bytes(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // A counter takes everything, and all keys here are texts.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
