//! Who is in the fleet: mostly healthy, and a few of each trouble.

use serde_json::{Value, json};

#[derive(Clone)]
pub struct Instance {
    pub register: Value,
    /// A part of each snapshot.
    pub containers: Vec<Value>,
    pub disks: Value,
    /// Means of the processor, the memory and the disk, in per cents.
    pub levels: [f64; 3],
    pub fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    Connected,
    /// It has been there, and does not come back.
    Lost,
    /// It connects and goes, over and over.
    Flaps,
}

const ROLES: [&str; 5] = ["web", "api", "db", "cache", "worker"];
const SITES: [&str; 3] = ["fra", "iad", "sin"];
const NEWEST: &str = "1.4.2";

pub fn all(count: usize) -> Vec<Instance> {
    (0..count).map(instance).collect()
}

fn instance(n: usize) -> Instance {
    let (role, site) = (ROLES[n % ROLES.len()], SITES[n / 2 % SITES.len()]);
    let id = format!("{role}-{site}-{:02}", n / ROLES.len() + 1);
    let env = if n % 7 == 6 { "staging" } else { "prod" };
    let version = if n % 11 == 5 { "1.3.0" } else { NEWEST };
    let mut containers = healthy(role, n);
    let mut used = 28.0 + (n * 37 % 41) as f64;
    let mut inodes = 6.0 + (n % 9) as f64;
    let mut fate = Fate::Connected;
    match n {
        3 => containers[0] = container("cache", 0, Trouble::CrashLoops),
        7 => fate = Fate::Lost,
        9 => containers.push(container("mailer", 1, Trouble::Killed)),
        12 => used = 96.4,
        14 => containers.push(container("migrate", 2, Trouble::Exited)),
        18 => inodes = 93.0,
        21 => containers[0] = container("api", 0, Trouble::Unhealthy),
        23 => fate = Fate::Flaps,
        26 => fate = Fate::Lost,
        _ => {}
    }
    let disks = json!({"/": {"used_pct": used, "inodes_pct": inodes},
                       "/var/lib/docker": {"used_pct": used * 0.8, "inodes_pct": null}});
    Instance {
        register: register(&id, n, version, &json!({"env": env, "role": role, "site": site})),
        containers,
        disks,
        levels: [6.0 + (n * 29 % 55) as f64, 31.0 + (n * 13 % 44) as f64, used],
        fate,
    }
}

fn register(id: &str, n: usize, version: &str, labels: &Value) -> Value {
    let rolled_back = json!([{
        "version": "1.5.0", "checksum_sha256": "5b".repeat(32), "cause": "crashed",
        "reason": "it crashed 3 times before its register was acknowledged", "banned": true,
        "at": "2026-11-28T09:12:31Z"}]);
    let capabilities = ["logs_follow", "logs_since", "containers", "host"];
    json!({
        "version": version, "instance_id": id, "ip": format!("10.{}.{}.{}", n % 3, n / 200, n % 200 + 10),
        "os": "linux", "arch": if n % 4 == 3 { "arm64" } else { "amd64" }, "protocol": 1,
        "capabilities": capabilities, "build": "9f2c41d0a8e3",
        "boot_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "labels": labels,
        "host": {"kernel": "6.1.0-18-cloud-amd64", "distribution": "Debian GNU/Linux 12 (bookworm)",
                 "cpus": 2 << (n % 3), "mem_total": 4_u64 << 30 << (n % 3), "init": "systemd"},
        "upgrade": {"probation": null, "rolled_back": if n == 16 { rolled_back } else { json!([]) }},
    })
}

enum Trouble {
    None,
    CrashLoops,
    Exited,
    Killed,
    Unhealthy,
}

fn healthy(role: &str, n: usize) -> Vec<Value> {
    let names = [role, "proxy", "metrics", "backup"];
    (0..1 + n % 4).map(|place| container(names[place], place, Trouble::None)).collect()
}

fn container(name: &str, place: usize, trouble: Trouble) -> Value {
    let (state, health, exit_code, restarts, oom_killed) = match trouble {
        Trouble::None if place == 0 => ("running", "healthy", None, 0, false),
        Trouble::None => ("running", "none", None, place % 2, false),
        Trouble::CrashLoops => ("restarting", "none", Some(1), 148, false),
        Trouble::Exited => ("exited", "none", Some(2), 0, false),
        Trouble::Killed => ("exited", "none", Some(137), 3, true),
        Trouble::Unhealthy => ("running", "unhealthy", None, 0, false),
    };
    json!({"name": name, "id": format!("{:064x}", 0x0b5c_5400_u64 + place as u64), "state": state,
           "image": format!("registry.example.com/{name}:2026.11"), "health": health,
           "exit_code": exit_code, "restarts": restarts, "oom_killed": oom_killed,
           "started_at": "2026-11-21T08:00:00Z"})
}
