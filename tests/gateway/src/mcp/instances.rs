//! The tools `list_instances` and `get_instance`.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::failure::Failure;
use crate::agents::fleet::Record;
use crate::agents::rank::{newest, rank, versions, wrong};
use crate::agents::register::InstanceId;
use crate::agents::status::{Status, status};
use crate::agents::view::{Instance, Numbers, Summary, weight};
use crate::clock::Moment;
use crate::gateway::Gateway;

const LIMIT: usize = 50;
const HIGHEST_LIMIT: usize = 200;
const LABELS: usize = 16;
/// Of a list in bytes, about. An answer has it twice: as it is, and as a text.
const WEIGHT: usize = 1 << 19;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListArguments {
    /// Only instances that have all of these labels with these values.
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// Only instances whose agent is lost.
    #[serde(default)]
    #[schema(required = false, default = false)]
    lost_only: bool,
    /// How many to leave out at the beginning: for the next part of a long list.
    #[serde(default)]
    #[schema(required = false, default = 0)]
    skip: usize,
    #[schema(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceArguments {
    /// The instance's id, as `list_instances` tells it.
    instance: InstanceId,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceList {
    /// What is wrong first: lost agents, then containers that crash-loop, ran out of memory, are unhealthy
    /// or have exited, full disks, failed upgrades, old versions; then the rest.
    instances: Vec<Brief>,
    /// How many instances there are with these labels.
    matching: usize,
    /// How many of them come after these: `skip` leads to them. There are fewer than the limit where more
    /// would be too large.
    left: usize,
}

/// An instance in short; `get_instance` tells all.
#[derive(Debug, Serialize, ToSchema)]
struct Brief {
    id: InstanceId,
    #[serde(flatten)]
    status: Status,
    /// Everything that is wrong, in words, the worst first.
    wrong: Vec<String>,
    agent_version: String,
    ip: String,
    labels: BTreeMap<String, String>,
    metrics: Option<Numbers>,
}

pub fn list(gateway: &Gateway, arguments: Value) -> Result<Value, Failure> {
    let arguments: ListArguments =
        serde_json::from_value(arguments).map_err(|error| Failure::arguments(&error))?;
    let limit = arguments.limit.unwrap_or(LIMIT);
    if !(1..=HIGHEST_LIMIT).contains(&limit) || arguments.labels.len() > LABELS {
        let most = format!("limit is 1 to {HIGHEST_LIMIT}, and there are at most {LABELS} labels");
        return Err(Failure::new(most));
    }
    let now = Moment::now();
    let list = gateway.agents.read(|fleet| {
        let wanted = |record: &&Record| arguments.want(record, now);
        let newest = newest(&versions(fleet));
        let mut found: Vec<_> = fleet
            .iter()
            .filter(wanted)
            .map(|record| (rank(record, newest.as_ref(), now), record))
            .collect();
        // Stable: within each rank in the order of the ids.
        found.sort_by_key(|(rank, _)| *rank);
        let (mut instances, mut total) = (Vec::new(), 0);
        for (_, record) in found.iter().skip(arguments.skip).take(limit) {
            total += weight(record);
            if total > WEIGHT && !instances.is_empty() {
                break;
            }
            instances.push(Brief::of(record, newest.as_ref(), now));
        }
        let left = found.len().saturating_sub(arguments.skip.saturating_add(instances.len()));
        InstanceList { instances, matching: found.len(), left }
    });
    Ok(json!(list))
}

pub fn get(gateway: &Gateway, arguments: Value) -> Result<Value, Failure> {
    let InstanceArguments { instance } =
        serde_json::from_value(arguments).map_err(|error| Failure::arguments(&error))?;
    let now = Moment::now();
    let found =
        gateway.agents.read(|fleet| fleet.get(&instance).map(|record| Instance::of(record, now)));
    found.map(|instance| json!(instance)).ok_or_else(|| Failure::no_instance(&instance))
}

impl ListArguments {
    fn want(&self, record: &Record, now: Moment) -> bool {
        let labels = &record.register.labels;
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
            && !(self.lost_only && status(record, now).agent_connected)
    }
}

impl Brief {
    fn of(record: &Record, newest: Option<&Version>, now: Moment) -> Brief {
        let Summary { common, metrics } = Summary::of(record, now);
        Brief {
            id: common.id,
            status: common.status,
            wrong: wrong(record, newest, now),
            agent_version: common.agent_version,
            ip: common.ip,
            labels: common.labels,
            metrics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::register::Register;

    const INSTANCES: usize = 30;

    /// Of each the largest labels that an agent may have.
    #[test]
    fn a_list_is_bounded_in_bytes_and_says_what_is_left() {
        let gateway = Gateway::in_memory();
        let labels: BTreeMap<String, String> =
            (0..64).map(|n| (format!("{n:0>256}"), "\u{1}".repeat(256))).collect();
        for n in 0..INSTANCES {
            let register = json!({"version": "1.0.0", "instance_id": format!("web-{n:02}"),
                                  "ip": "::1", "os": "linux", "arch": "amd64", "labels": labels});
            let register = Register::read(register).unwrap();
            gateway.agents.registered(n as u64, register).unwrap();
        }
        let mut seen = 0;
        while seen < INSTANCES {
            let Ok(list) = list(&gateway, json!({"skip": seen, "limit": 200})) else {
                panic!("no list")
            };
            assert!(list.to_string().len() <= WEIGHT, "{} bytes", list.to_string().len());
            let shown = list["instances"].as_array().unwrap();
            assert_eq!(shown[0]["id"], format!("web-{seen:02}"));
            seen += shown.len();
            assert_eq!((&list["left"], &list["matching"]), (&json!(INSTANCES - seen), &json!(30)));
        }
    }
}
