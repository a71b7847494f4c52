//! What a snapshot says of containers and disks, read with indulgence: a part that is not as the protocol
//! describes it is left out, and the rest is shown. And what of it is wrong.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Moment;

/// Per cent of a disk's space or inodes.
pub const FULL_PCT: f64 = 90.0;
/// A container that has been restarted so often, the last time not long ago, crash-loops, also while
/// it happens to run.
const CRASHES: u64 = 3;
const RECENT_SECS: u64 = 10 * 60;
/// Of one snapshot; the others are counted.
const TROUBLES: usize = 8;
const NAME_LIMIT: usize = 128;

#[derive(Debug, Default)]
pub struct Health {
    /// `None`: unknown.
    pub containers: Option<Vec<Container>>,
    /// By mount point.
    pub disks: BTreeMap<String, Disk>,
    pub uptime_secs: Option<f64>,
    pub load: Option<Vec<f64>>,
    pub swap_pct: Option<f64>,
    /// Why a part is null, by its name.
    pub errors: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    pub name: String,
    pub id: String,
    pub image: String,
    pub state: String,
    pub health: Option<String>,
    pub exit_code: Option<i64>,
    pub restarts: Option<u64>,
    pub oom_killed: Option<bool>,
    /// As docker writes it, which may be a year before all others.
    pub started_at: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Disk {
    pub used_pct: Option<f64>,
    pub inodes_pct: Option<f64>,
}

/// One thing that is wrong. The worst kind is the smallest.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub kind: Kind,
    pub words: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    CrashLoops,
    OutOfMemory,
    Unhealthy,
    Exited,
    DiskFull,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Kind::CrashLoops => "Crash loop",
            Kind::OutOfMemory => "Out of memory",
            Kind::Unhealthy => "Unhealthy",
            Kind::Exited => "Exited",
            Kind::DiskFull => "Disk full",
        }
    }
}

/// The worst first.
#[derive(Debug, Default, PartialEq)]
pub struct Troubles {
    pub first: Vec<Trouble>,
    /// That are not among them.
    pub more: usize,
}

impl Health {
    pub fn read(snapshot: &Value) -> Health {
        let host = &snapshot["host"];
        let containers = snapshot["containers"].as_array();
        let health = Health {
            containers: containers.map(|all| all.iter().filter_map(read).collect()),
            disks: members(&host["disks"]),
            uptime_secs: host["uptime_s"].as_f64(),
            load: read(&host["load"]),
            swap_pct: host["swap_pct"].as_f64(),
            errors: members(&snapshot["errors"]),
        };
        // An older agent tells less.
        let containers = health.containers.or_else(|| of_older(&snapshot["container_health"]));
        let mut disks = health.disks;
        if disks.is_empty()
            && let Some(used) = snapshot["disk_pct"].as_f64()
        {
            disks.insert("/".to_owned(), Disk { used_pct: Some(used), inodes_pct: None });
        }
        Health { containers, disks, ..health }
    }

    pub fn troubles(&self, collected_at: Moment) -> Troubles {
        let containers = self.containers.iter().flatten();
        let containers = containers.filter_map(|container| container.trouble(collected_at));
        let disks = self.disks.iter().flat_map(|(mount, disk)| disk.troubles(mount));
        let mut first: Vec<Trouble> = containers.chain(disks).collect();
        first.sort_by_key(|trouble| trouble.kind);
        let more = first.len().saturating_sub(TROUBLES);
        first.truncate(TROUBLES);
        Troubles { first, more }
    }
}

impl Container {
    /// The worst, if something is wrong with it.
    pub fn trouble(&self, collected_at: Moment) -> Option<Trouble> {
        let name: String = self.name.chars().take(NAME_LIMIT).collect();
        let (kind, words) = if self.crash_loops(collected_at) {
            let restarts = self.restarts.unwrap_or(0);
            (Kind::CrashLoops, format!("{name} crash-loops, {restarts} restarts"))
        } else if self.oom_killed == Some(true) {
            (Kind::OutOfMemory, format!("{name} was killed: out of memory"))
        } else if self.health.as_deref() == Some("unhealthy") {
            (Kind::Unhealthy, format!("{name} is unhealthy"))
        } else if let Some(code) = self.failure() {
            (Kind::Exited, format!("{name} has exited with {}", ExitCode(code)))
        } else {
            return None;
        };
        Some(Trouble { kind, words })
    }

    fn crash_loops(&self, collected_at: Moment) -> bool {
        let recent = |started| collected_at.since(started).as_secs() < RECENT_SECS;
        let started = self.started_at.as_deref().and_then(Moment::parse);
        let often = self.restarts.is_some_and(|restarts| restarts >= CRASHES);
        self.state == "restarting" || (often && started.is_some_and(recent))
    }

    fn failure(&self) -> Option<i64> {
        let over = matches!(self.state.as_str(), "exited" | "dead");
        self.exit_code.filter(|code| over && *code != 0)
    }
}

impl Disk {
    fn troubles(self, mount: &str) -> impl Iterator<Item = Trouble> {
        let mount: String = mount.chars().take(NAME_LIMIT).collect();
        let full = |pct: Option<f64>| pct.filter(|pct| *pct >= FULL_PCT);
        let space = full(self.used_pct).map(|pct| format!("{mount} is {pct:.0} % full"));
        let inodes =
            full(self.inodes_pct).map(|pct| format!("{mount} has {pct:.0} % of its inodes in use"));
        space.into_iter().chain(inodes).map(|words| Trouble { kind: Kind::DiskFull, words })
    }
}

/// With the signal that a code above 128 stands for.
pub struct ExitCode(pub i64);

impl fmt::Display for ExitCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = match self.0 {
            129 => " (SIGHUP)",
            130 => " (SIGINT)",
            134 => " (SIGABRT)",
            137 => " (SIGKILL)",
            139 => " (SIGSEGV)",
            143 => " (SIGTERM)",
            _ => "",
        };
        write!(formatter, "{}{signal}", self.0)
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn members<T: DeserializeOwned>(value: &Value) -> BTreeMap<String, T> {
    let members = value.as_object().into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), read(value)?))).collect()
}

fn of_older(container_health: &Value) -> Option<Vec<Container>> {
    let running = container_health.as_object()?.iter().map(|(name, health)| Container {
        name: name.clone(),
        state: "running".to_owned(),
        health: health.as_str().map(str::to_owned),
        ..Container::default()
    });
    Some(running.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn words(snapshot: &Value) -> Vec<String> {
        let troubles = Health::read(snapshot).troubles(Moment::parse(NOW).unwrap());
        troubles.first.into_iter().map(|trouble| trouble.words).collect()
    }

    fn container(name: &str, more: Value) -> Value {
        let mut container = json!({
            "name": name, "id": "0", "image": "i", "state": "running", "health": "none",
            "exit_code": null, "restarts": 0, "oom_killed": false, "started_at": "2026-01-01T00:00:00Z"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    }

    #[test]
    fn the_worst_comes_first() {
        let snapshot = json!({
            "containers": [
                container("fine", json!({})),
                container("done", json!({"state": "exited", "exit_code": 0})),
                container("failed", json!({"state": "exited", "exit_code": 143})),
                container("sick", json!({"health": "unhealthy"})),
                container("killed", json!({"state": "exited", "exit_code": 137, "oom_killed": true})),
                container("loops", json!({"state": "restarting", "exit_code": 1, "restarts": 7})),
                container("between", json!({"restarts": 3, "started_at": "2026-01-01T00:55:00Z"})),
                container("settled", json!({"restarts": 3, "started_at": "2026-01-01T00:45:00Z"})),
            ],
            "host": {"disks": {"/": {"used_pct": 89.9, "inodes_pct": 91.0},
                               "/data": {"used_pct": 90, "inodes_pct": null}}},
        });
        assert_eq!(
            words(&snapshot),
            [
                "loops crash-loops, 7 restarts",
                "between crash-loops, 3 restarts",
                "killed was killed: out of memory",
                "sick is unhealthy",
                "failed has exited with 143 (SIGTERM)",
                "/ has 91 % of its inodes in use",
                "/data is 90 % full",
            ]
        );
    }

    #[test]
    fn an_older_agent_says_less_and_a_broken_one_nonsense() {
        let older =
            json!({"disk_pct": 95.0, "container_health": {"web": "unhealthy", "db": "none"}});
        assert_eq!(words(&older), ["web is unhealthy", "/ is 95 % full"]);
        let broken = json!({"containers": [1, {"name": 2}, container("web", json!({"health": "unhealthy"}))],
                            "host": {"disks": {"/": [], "/a": {"used_pct": 99}}, "load": "high"},
                            "errors": [1]});
        assert_eq!(words(&broken), ["web is unhealthy", "/a is 99 % full"]);
        assert_eq!(words(&json!(null)), [""; 0]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let name = "n".repeat(5000);
        let many = vec![container(&name, json!({"health": "unhealthy"})); 500];
        let troubles = Health::read(&json!({"containers": many})).troubles(Moment::default());
        assert_eq!((troubles.first.len(), troubles.more), (TROUBLES, 500 - TROUBLES));
        assert!(troubles.first.iter().all(|trouble| trouble.words.len() < 200));
    }
}
