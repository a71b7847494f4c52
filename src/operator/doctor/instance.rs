//! The instance id: where it comes from, and whether other VMs may have the same one. The gateway
//! keeps one session for an id, so two VMs with one id close each other's session for ever.

use std::fs;

use super::report::Report;
use super::service::Service;
use crate::operator::variables::INSTANCE;

const CLOUD_INIT: &str = "/var/lib/cloud/data/instance-id";
const MACHINE_ID: &str = "/etc/machine-id";
/// Names that images and cloud-init give to every VM.
const SHARED: [&str; 7] = [
    "localhost",
    "localhost.localdomain",
    "iid-datasource-none",
    "iid-local01",
    "nocloud",
    "debian",
    "ubuntu",
];

/// Where an id was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Variable,
    CloudInit,
    MachineId,
    HostName,
}

/// `file` is what agent.env sets.
pub fn check(id: &str, file: &[(String, String)], service: &Service, report: &mut Report) {
    let holds = |path| fs::read_to_string(path).is_ok_and(|text| text.trim() == id);
    let is_set = std::env::var(INSTANCE).is_ok_and(|value| value.trim() == id)
        || file.iter().any(|(name, value)| name == INSTANCE && value.trim() == id);
    let source = match is_set {
        true => Source::Variable,
        false if holds(CLOUD_INIT) => Source::CloudInit,
        false if holds(MACHINE_ID) => Source::MachineId,
        false => Source::HostName,
    };
    match doubt(id, source) {
        None => report.pass("instance-id", format!("{id}, from {}", source.name())),
        Some(why) => {
            let seen = format!("{id}, from {}: {why}", source.name());
            let give = format!("sudo {INSTANCE}=$(cat /proc/sys/kernel/random/uuid) ");
            let next = service.own_command("install").replace("sudo ", &give);
            report.warn("instance-id", seen, next);
        }
    }
}

/// Why other VMs may have the same id.
fn doubt(id: &str, source: Source) -> Option<&'static str> {
    if id.bytes().all(|byte| byte == b'0' || byte == b'-') {
        Some("it is all zeros, so other VMs may have it too")
    } else if SHARED.contains(&id.to_ascii_lowercase().as_str()) {
        Some("many machines have this id; it must be unique")
    } else if source == Source::HostName {
        Some("there is no machine-id; a host name may not be unique, and it may change")
    } else {
        None
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Variable => INSTANCE,
            Source::CloudInit => "cloud-init",
            Source::MachineId => "/etc/machine-id (must be unique: cloned VMs share it)",
            Source::HostName => "the host name",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_others_may_have_is_doubted() {
        let fine = [
            ("web-1", Source::Variable),
            ("i-0123456789abcdef0", Source::CloudInit),
            ("0f6e1d2c3b4a59687766554433221100", Source::MachineId),
        ];
        for (id, source) in fine {
            assert_eq!(doubt(id, source), None, "{id}");
        }
        for (id, source) in [
            ("00000000000000000000000000000000", Source::MachineId),
            ("00000000-0000-0000-0000-000000000000", Source::Variable),
            ("iid-datasource-none", Source::CloudInit),
            ("Localhost", Source::Variable),
            ("web-1", Source::HostName),
        ] {
            assert!(doubt(id, source).is_some(), "{id}");
        }
    }
}
