//! What an agent says of itself in `register`, with a bound on each part. What is optional was added
//! by version 1.1 of the protocol: an older agent leaves it out, and unknown members are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Of any text that has no bound of its own.
const TEXT_LIMIT: usize = 256;
const LABELS: usize = 64;
const CAPABILITIES: usize = 32;
/// As many as the agent remembers.
const ROLL_BACKS: usize = 8;
const REASON_LIMIT: usize = 1024;

/// The name of a VM: 1 to 256 characters, none of them a control character.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    value_type = String, min_length = 1, max_length = 256, example = "web-1",
    pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InstanceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<InstanceId, &'static str> {
        let fits = (1..=TEXT_LIMIT).contains(&text.chars().count());
        let fits = fits && !text.chars().any(char::is_control);
        let wrong = "an instance id has 1 to 256 characters and no control characters";
        fits.then(|| InstanceId(text.into())).ok_or(wrong)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Register {
    pub version: String,
    pub instance_id: InstanceId,
    pub ip: String,
    pub os: String,
    pub arch: String,
    #[serde(default)]
    pub protocol: Option<u32>,
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    #[serde(default)]
    pub build: Option<String>,
    #[serde(default)]
    pub boot_id: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub host: Option<Host>,
    /// `None` from an agent that does not tell it.
    #[serde(default)]
    pub upgrade: Option<UpgradeState>,
}

/// Facts that do not change while the machine runs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(default)]
pub struct Host {
    pub kernel: Option<String>,
    pub distribution: Option<String>,
    pub cpus: Option<u32>,
    /// Bytes.
    pub mem_total: Option<u64>,
    pub init: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(default)]
pub struct UpgradeState {
    pub probation: Option<Probation>,
    /// The last eight, the newest last.
    pub rolled_back: Vec<RollBack>,
}

/// A new version that has still to prove itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Probation {
    pub version: String,
    pub seconds_left: f64,
}

/// A version that was given up.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RollBack {
    pub version: String,
    pub checksum_sha256: String,
    pub reason: String,
    /// `crashed`, `never_started`, `refused` or `unacknowledged`.
    #[serde(default)]
    pub cause: Option<String>,
    /// Whether this checksum is refused from now on.
    #[serde(default)]
    pub banned: Option<bool>,
    /// When, by the agent's clock, as it writes it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub at: Option<Value>,
}

impl RollBack {
    /// The same roll-back, told a second time.
    pub fn is(&self, other: &RollBack) -> bool {
        self.checksum_sha256 == other.checksum_sha256
            && self.version == other.version
            && self.at == other.at
    }

    /// The error says which member is no good.
    pub fn read(params: Value) -> Result<RollBack, String> {
        let read: RollBack = serde_json::from_value(params).map_err(|error| error.to_string())?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        bounded("rolled_back.version", &self.version, TEXT_LIMIT)?;
        bounded("rolled_back.checksum_sha256", &self.checksum_sha256, TEXT_LIMIT)?;
        bounded("rolled_back.reason", &self.reason, REASON_LIMIT)?;
        bounded("rolled_back.cause", self.cause.as_deref().unwrap_or_default(), TEXT_LIMIT)?;
        match &self.at {
            None | Some(Value::Null | Value::Number(_)) => Ok(()),
            Some(Value::String(at)) => bounded("rolled_back.at", at, TEXT_LIMIT),
            Some(_) => Err("rolled_back.at is neither a text nor a number".to_owned()),
        }
    }
}

impl Register {
    /// The error says which member is no good.
    pub fn read(params: Value) -> Result<Register, String> {
        let mut read: Register =
            serde_json::from_value(params).map_err(|error| error.to_string())?;
        read.check()?;
        if let Some(upgrade) = &mut read.upgrade {
            let older = upgrade.rolled_back.len().saturating_sub(ROLL_BACKS);
            upgrade.rolled_back.drain(..older);
            upgrade.rolled_back.iter().try_for_each(RollBack::check)?;
        }
        Ok(read)
    }

    /// Whether it can do this optional part of the protocol.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    fn check(&self) -> Result<(), String> {
        let texts = [
            ("version", Some(&self.version)),
            ("ip", Some(&self.ip)),
            ("os", Some(&self.os)),
            ("arch", Some(&self.arch)),
            ("build", self.build.as_ref()),
            ("boot_id", self.boot_id.as_ref()),
        ];
        let host = self.host.iter().flat_map(|host| {
            [
                ("host.kernel", host.kernel.as_ref()),
                ("host.distribution", host.distribution.as_ref()),
                ("host.init", host.init.as_ref()),
            ]
        });
        for (name, text) in texts.into_iter().chain(host) {
            bounded(name, text.map_or("", String::as_str), TEXT_LIMIT)?;
        }
        if self.labels.len() > LABELS || self.capabilities.len() > CAPABILITIES {
            return Err(format!("over {LABELS} labels or {CAPABILITIES} capabilities"));
        }
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        labels
            .chain(&self.capabilities)
            .try_for_each(|text| bounded("labels", text, TEXT_LIMIT))?;
        let probation = self.upgrade.as_ref().and_then(|upgrade| upgrade.probation.as_ref());
        bounded("probation", probation.map_or("", |probation| &probation.version), TEXT_LIMIT)
    }
}

fn bounded(name: &str, text: &str, limit: usize) -> Result<(), String> {
    match text.len() <= limit {
        true => Ok(()),
        false => Err(format!("{name} is longer than {limit} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn least() -> Value {
        json!({"version": "1.0.0", "instance_id": "a", "ip": "::1", "os": "linux", "arch": "arm64"})
    }

    #[test]
    fn an_older_agent_says_five_things() {
        let register = Register::read(least()).unwrap();
        assert_eq!((register.version.as_str(), register.protocol), ("1.0.0", None));
        assert!(!register.can("logs_follow"));
        assert_eq!(register.upgrade, None);
    }

    #[test]
    fn a_newer_agent_may_say_more_than_is_known() {
        let mut params = least();
        params["capabilities"] = json!(["logs_follow", "of_tomorrow"]);
        params["labels"] = json!({"env": "prod"});
        params["host"] = json!({"kernel": "6.1", "cpus": 2, "unknown": [1]});
        params["upgrade"] = json!({"probation": null, "rolled_back": []});
        params["of_tomorrow"] = json!({"a": 1});
        let register = Register::read(params).unwrap();
        assert!(register.can("logs_follow"));
        assert_eq!(register.labels["env"], "prod");
        assert_eq!(register.host.unwrap().cpus, Some(2));
    }

    #[test]
    fn each_part_is_bounded() {
        for (name, value) in [
            ("version", json!("1".repeat(257))),
            ("instance_id", json!("")),
            ("instance_id", json!("a\nb")),
            ("instance_id", json!("i".repeat(257))),
            ("ip", json!(1)),
            ("host", json!({"kernel": "k".repeat(257)})),
            ("capabilities", json!((0..33).map(|n| n.to_string()).collect::<Vec<_>>())),
            ("labels", json!({"a": "v".repeat(257)})),
            ("upgrade", json!({"probation": {"version": "v".repeat(257), "seconds_left": 1}})),
        ] {
            let mut params = least();
            params[name] = value;
            assert!(Register::read(params.clone()).is_err(), "{params}");
        }
    }

    #[test]
    fn the_last_eight_roll_backs_are_kept() {
        let roll_back =
            |n: u32| json!({"version": n.to_string(), "checksum_sha256": "", "reason": ""});
        let mut params = least();
        params["upgrade"] = json!({"rolled_back": (0..20).map(roll_back).collect::<Vec<_>>()});
        let kept = Register::read(params).unwrap().upgrade.unwrap().rolled_back;
        let versions: Vec<_> = kept.iter().map(|kept| kept.version.as_str()).collect();
        assert_eq!(versions, ["12", "13", "14", "15", "16", "17", "18", "19"]);
    }
}
