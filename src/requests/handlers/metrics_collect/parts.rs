//! What all parts of a snapshot have in common: a missing part has its reason, and all parts
//! together have to fit into a message.

use serde::{Serialize, Serializer};

use crate::wire::rpc;

/// The largest snapshot, in bytes of JSON: a message holds it beside an id of any length.
pub const JSON_LIMIT: usize = rpc::MESSAGE_LIMIT - 32 * 1024;
/// Why a part is missing that would make the snapshot larger.
pub const TOO_LARGE: &str = "it would not fit a message of 1 MiB; too many containers";

/// By the part's name, why it is missing.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub struct Errors(Object<&'static str, String>);

/// An object in JSON, its members in this order. Each kind of map would take some kB of the binary.
pub struct Object<K, V>(pub Vec<(K, V)>);

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    pub fn add(&mut self, part: &'static str, reason: impl ToString) {
        let Object(reasons) = &mut self.0;
        reasons.retain(|(known, _)| *known != part);
        reasons.push((part, reason.to_string()));
    }

    /// The value of a part, if it could be read; else notes why not.
    pub fn note<T>(&mut self, part: &'static str, read: Result<T, impl ToString>) -> Option<T> {
        read.map_err(|reason| self.add(part, reason)).ok()
    }

    /// For the log: which parts are missing, and why. Empty if the snapshot is complete.
    pub fn missing(&self) -> String {
        let mut missing: Vec<(String, &str)> = Vec::new();
        for (part, reason) in &self.0.0 {
            match missing.last_mut() {
                Some((parts, last)) if last == reason => *parts = format!("{parts} and {part}"),
                _ => missing.push(((*part).to_owned(), reason)),
            }
        }
        let missing: Vec<String> = missing
            .into_iter()
            .map(|(parts, reason)| format!(" without {parts}: {reason}"))
            .collect();
        let all_of_docker = "container_count and container_health and containers";
        missing.join(";").replace(all_of_docker, "container data")
    }
}

impl<K, V> Default for Object<K, V> {
    fn default() -> Object<K, V> {
        Object(Vec::new())
    }
}

impl<K: Serialize, V: Serialize> Serialize for Object<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_is_missing_and_why() {
        let missing = |reasons: &[(&'static str, &str)]| {
            let mut errors = Errors::default();
            for &(part, reason) in reasons {
                errors.add(part, reason);
            }
            errors.missing()
        };
        assert_eq!(missing(&[]), "");
        let docker = ["container_count", "container_health", "containers"];
        assert_eq!(
            missing(&docker.map(|part| (part, "no docker"))),
            " without container data: no docker"
        );
        let all = [
            ("container_health", "no inspect"),
            ("containers", "no inspect"),
            ("cpu_pct", "no /proc"),
            ("host.load", "no /proc"),
            ("host.disks", "too many"),
        ];
        assert_eq!(
            missing(&all),
            " without container_health and containers: no inspect; without cpu_pct and host.load: \
             no /proc; without host.disks: too many"
        );
    }
}
