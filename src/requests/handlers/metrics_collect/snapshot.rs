//! A finished snapshot: what was read, and its JSON.

use std::path::Path;

use serde::Serialize;
use tungstenite::Bytes;

use super::engine::Containers;
use super::host::Host;
use super::parts::{Errors, JSON_LIMIT, Object, TOO_LARGE};
use crate::docker::{Container, Health};
use crate::host::timestamp::Timestamp;
use crate::host::usage::{self, CpuTimes};
use crate::wire::rpc::{self, Id};

/// One reading of the processors.
pub type CpuReading = Result<CpuTimes, usage::Error>;

/// So many bytes of JSON may wait to be sent several times over.
const SMALL: usize = 16 * 1024;

/// The result, and the parameters of `health_snapshot`. A part that could not be read is `null`,
/// and `errors` has the reason under the part's name.
#[derive(Serialize)]
pub struct Snapshot {
    cpu_pct: Option<f64>,
    mem_pct: Option<f64>,
    disk_pct: Option<f64>,
    container_count: Option<usize>,
    container_health: Option<Object<String, Health>>,
    containers: Option<Vec<Container>>,
    host: Host,
    collected_at: String,
    #[serde(skip_serializing_if = "Errors::is_empty")]
    errors: Errors,
}

/// A finished snapshot, in JSON.
pub struct Taken {
    json: String,
    missing: String,
}

impl From<Snapshot> for Taken {
    /// Drops the containers, and then their health, if the snapshot would not fit into a message.
    fn from(mut snapshot: Snapshot) -> Taken {
        let encode = |snapshot: &Snapshot| serde_json::to_string(snapshot).unwrap_or_default();
        let mut json = encode(&snapshot);
        if json.len() > JSON_LIMIT {
            snapshot.containers = None;
            snapshot.errors.add("containers", TOO_LARGE);
            json = encode(&snapshot);
        }
        if json.len() > JSON_LIMIT {
            snapshot.container_health = None;
            snapshot.errors.add("container_health", TOO_LARGE);
            json = encode(&snapshot);
        }
        Taken { json, missing: snapshot.errors.missing() }
    }
}

impl Taken {
    /// Whether many copies may wait in memory.
    pub fn is_small(&self) -> bool {
        self.json.len() <= SMALL
    }

    /// For the log: which parts are missing, and why. Empty if the snapshot is complete.
    pub fn missing(&self) -> &str {
        &self.missing
    }

    /// The response to the request `id`.
    pub fn message(&self, id: Option<&Id>) -> Bytes {
        format!("{}{}{}", rpc::result_head(id), self.json, rpc::TAIL).into()
    }

    /// `health_snapshot`.
    pub fn notification(&self) -> String {
        format!("{}{}{}", rpc::notification_head("health_snapshot"), self.json, rpc::TAIL)
    }
}

impl Snapshot {
    /// Puts together the two readings of the processors, docker's part, and the rest, which is read
    /// now.
    pub fn new(before: &CpuReading, after: &CpuReading, docker: Containers) -> Snapshot {
        let mut errors = Errors::default();
        let cpu = match (before, after) {
            (Ok(before), Ok(after)) => Ok(after.busy_percent_since(before)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        let cpu = errors.note("cpu_pct", cpu);
        let memory = errors.note("mem_pct", usage::read_memory_percent());
        let disk = errors.note("disk_pct", usage::read_space(Path::new("/")));
        if let Some(reason) = docker.lack {
            errors.add("containers.stopped", reason);
        }
        Snapshot {
            cpu_pct: cpu.map(usage::one_decimal),
            mem_pct: memory.map(usage::one_decimal),
            disk_pct: disk.map(|space| usage::one_decimal(space.used_percent)),
            container_count: errors.note("container_count", docker.count),
            container_health: errors.note("container_health", docker.health).map(Object),
            containers: errors.note("containers", docker.all),
            host: Host::read(&mut errors),
            collected_at: Timestamp::now().to_string(),
            errors,
        }
    }
}
