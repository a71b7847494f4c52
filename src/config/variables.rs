//! The names of all variables, and their values as they were written.

use std::collections::BTreeMap;

pub const TOKEN: &str = "VMKIT_AGENT_TOKEN";
pub const GATEWAY_URL: &str = "VMKIT_GATEWAY_URL";
pub const LOG_LEVEL: &str = "VMKIT_LOG_LEVEL";
pub const INSTANCE_ID: &str = "VMKIT_INSTANCE_ID";
pub const LABELS: &str = "VMKIT_LABELS";
pub const CA_FILE: &str = "VMKIT_CA_FILE";
pub const DOCKER_BIN: &str = "VMKIT_DOCKER_BIN";
pub const RESTART_CMD: &str = "VMKIT_RESTART_CMD";
pub const UPGRADES: &str = "VMKIT_UPGRADES";
pub const UPGRADE_PUBKEY: &str = "VMKIT_UPGRADE_PUBKEY";
pub const UPGRADE_PROBATION_SECS: &str = "VMKIT_UPGRADE_PROBATION_SECS";
/// The proxies are also read by their names in lower case.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
pub const NO_PROXY: &str = "NO_PROXY";

pub const DEFAULT_GATEWAY: &str = "wss://gateway.vmkit.dev/api/daemon";

/// The variables as they were written; an empty value counts as absent.
#[derive(Default)]
pub(super) struct Variables(pub BTreeMap<String, String>);

impl Variables {
    pub fn from_environment() -> Variables {
        // No variable of ours may hold what is not UTF-8: its check then says so.
        Variables(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
                })
                .collect(),
        )
    }

    /// Of several values for a name the last one counts.
    pub fn of(assignments: Vec<(String, String)>) -> Variables {
        Variables(assignments.into_iter().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of `name`, else that of its name in lower case.
    pub fn get_either_case(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| self.get(&name.to_ascii_lowercase()))
    }

    /// The gateway's URL, which has a default.
    pub fn gateway(&self) -> &str {
        self.get(GATEWAY_URL).unwrap_or(DEFAULT_GATEWAY)
    }

    /// Puts a harmless value in the place of a wrong one.
    pub fn stand_in(&mut self, name: &str) {
        self.0.remove(name);
        self.0.remove(&name.to_ascii_lowercase());
        if name == TOKEN {
            self.0.insert(name.to_owned(), "none".to_owned());
        }
    }
}
