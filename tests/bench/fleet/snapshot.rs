//! What a light agent says of itself: a VM with six containers, each agent with numbers of its own.

use serde_json::{Value, json};

const CONTAINERS: [(&str, &str); 6] = [
    ("web", "registry.example.com/shop/web:2026.11.3"),
    ("worker", "registry.example.com/shop/worker:2026.11.3"),
    ("db", "postgres:17"),
    ("cache", "redis:8"),
    ("proxy", "caddy:2"),
    ("backup", "registry.example.com/ops/backup:41"),
];

pub fn id(agent: usize) -> String {
    format!("i-{agent:017x}")
}

pub fn register(agent: usize) -> Value {
    let env = if agent.is_multiple_of(4) { "staging" } else { "prod" };
    let role = ["web", "worker", "db"][agent % 3];
    json!({
        "version": "1.0.0", "instance_id": id(agent),
        "ip": format!("10.{}.{}.{}", agent / 65_536, agent / 256 % 256, agent % 256),
        "os": "linux", "arch": "amd64", "protocol": 1,
        "capabilities": ["containers", "host", "logs_follow", "logs_since"],
        "build": "0123456789ab", "boot_id": format!("7c9e6679-7425-40de-944b-{agent:012x}"),
        "labels": {"env": env, "region": "eu-1", "role": role},
        "host": {"kernel": "6.1.0-18-cloud-amd64", "cpus": 2, "mem_total": 4_102_029_312_u64,
                 "distribution": "Debian GNU/Linux 12 (bookworm)", "init": "systemd"},
        "upgrade": {"probation": null, "rolled_back": []},
    })
}

/// The `count`th of this agent.
pub fn metrics(agent: usize, count: u64) -> Value {
    let per_cent = |step: u64| ((agent as u64 * 37 + count * step) % 1000) as f64 / 10.0;
    let container = |(name, image): &(&str, &str)| {
        json!({"name": name, "id": format!("{name:0>8}{agent:056x}"), "image": image,
               "state": "running", "health": "healthy", "exit_code": null, "restarts": 0,
               "oom_killed": false, "started_at": "2026-01-01T00:00:00.000000001Z"})
    };
    let containers: Vec<Value> = CONTAINERS.iter().map(container).collect();
    let health: serde_json::Map<String, Value> =
        CONTAINERS.iter().map(|(name, _)| ((*name).to_owned(), json!("healthy"))).collect();
    json!({
        "cpu_pct": per_cent(7), "mem_pct": per_cent(3), "disk_pct": per_cent(1),
        "container_count": CONTAINERS.len(), "container_health": health, "containers": containers,
        "host": {"uptime_s": 86_400 + 60 * count, "load": [0.5, 0.4, 0.3], "swap_pct": null,
                 "disks": {"/": {"used_pct": per_cent(1), "inodes_pct": 7.0}}},
        "collected_at": "2026-01-01T00:02:00Z",
    })
}
