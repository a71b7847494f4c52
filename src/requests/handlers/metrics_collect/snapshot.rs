//! A finished snapshot: what was read, and its JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use tungstenite::Bytes;

use crate::docker::Health;
use crate::host::timestamp::Timestamp;
use crate::host::usage::{self, CpuTimes};
use crate::wire::rpc::{self, Id};

/// The largest snapshot, in bytes of JSON: a message holds it beside an id of any length.
const JSON_LIMIT: usize = rpc::MESSAGE_LIMIT - 32 * 1024;
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
    container_health: Option<BTreeMap<String, Health>>,
    collected_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'static str, String>,
}

impl Snapshot {
    /// For the log: which parts are missing, and why. Empty if the snapshot is complete.
    fn missing(&self) -> String {
        let mut missing: Vec<(String, &str)> = Vec::new();
        for (&part, reason) in &self.errors {
            match missing.last_mut() {
                Some((parts, last)) if last == reason => *parts = format!("{parts} and {part}"),
                _ => missing.push((part.to_owned(), reason)),
            }
        }
        let missing: Vec<String> = missing
            .into_iter()
            .map(|(parts, reason)| format!(" without {parts}: {reason}"))
            .collect();
        missing.join(";").replace("container_count and container_health", "container data")
    }
}

/// A finished snapshot, in JSON.
pub struct Taken {
    json: String,
    missing: String,
}

impl From<Snapshot> for Taken {
    /// Drops the containers' health if the snapshot would not fit into a message.
    fn from(mut snapshot: Snapshot) -> Taken {
        let encode = |snapshot: &Snapshot| serde_json::to_string(snapshot).unwrap_or_default();
        let mut json = encode(&snapshot);
        if json.len() > JSON_LIMIT {
            snapshot.container_health = None;
            let reason = "it would not fit a message of 1 MiB; too many containers";
            snapshot.errors.insert("container_health", reason.to_owned());
            json = encode(&snapshot);
        }
        Taken { json, missing: snapshot.missing() }
    }
}

impl Taken {
    /// Whether many copies may wait in memory.
    pub fn is_small(&self) -> bool {
        self.json.len() <= SMALL
    }

    /// As [`Snapshot::missing`].
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

/// Puts together the two readings of the processors, docker's part, and memory and disk, which are
/// read now.
pub fn snapshot(
    before: &Result<CpuTimes, usage::Error>,
    after: &Result<CpuTimes, usage::Error>,
    count: Result<usize, String>,
    health: Result<BTreeMap<String, Health>, String>,
) -> Snapshot {
    let mut errors = BTreeMap::new();
    let cpu = match (before, after) {
        (Ok(before), Ok(after)) => Ok(after.busy_percent_since(before)),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    };
    Snapshot {
        cpu_pct: noted(&mut errors, "cpu_pct", cpu).map(usage::one_decimal),
        mem_pct: noted(&mut errors, "mem_pct", usage::read_memory_percent())
            .map(usage::one_decimal),
        disk_pct: noted(&mut errors, "disk_pct", usage::disk_percent("/")).map(usage::one_decimal),
        container_count: noted(&mut errors, "container_count", count),
        container_health: noted(&mut errors, "container_health", health),
        collected_at: Timestamp::now().to_string(),
        errors,
    }
}

/// The value, if there is one; else the reason goes to `errors`.
fn noted<T, E: ToString>(
    errors: &mut BTreeMap<&'static str, String>,
    part: &'static str,
    read: Result<T, E>,
) -> Option<T> {
    read.map_err(|reason| errors.insert(part, reason.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_is_missing_and_why() {
        let missing = |errors: &[(&'static str, &str)]| {
            let cpu = CpuTimes::read();
            let mut snapshot = snapshot(&cpu, &cpu, Ok(0), Ok(BTreeMap::new()));
            let errors = errors.iter().map(|&(part, reason)| (part, reason.to_owned()));
            snapshot.errors = errors.collect();
            snapshot.missing()
        };
        assert_eq!(missing(&[]), "");
        let docker = [("container_count", "no docker"), ("container_health", "no docker")];
        assert_eq!(missing(&docker), " without container data: no docker");
        let both = [("container_health", "no docker"), ("cpu_pct", "no /proc")];
        let expected = " without container_health: no docker; without cpu_pct: no /proc";
        assert_eq!(missing(&both), expected);
    }
}
