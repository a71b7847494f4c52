//! Every page as people with different eyes and screens get it: axe-core finds nothing, and nothing is
//! wider than a phone.

use std::collections::BTreeMap;

use serde_json::json;

use crate::agent::{Agent, container, log_line, register, snapshot};
use crate::axe::findings;
use crate::world::{World, world};

/// The width and height of a small phone and of a common screen.
pub const PHONE: (u32, u32) = (360, 740);
pub const SCREEN: (u32, u32) = (1280, 900);

/// A fleet with every kind of trouble.
pub async fn fleet(world: &World) -> Vec<Agent> {
    let gateway = &world.gateway;
    let web = Agent::start(gateway, register("web-1")).await;
    web.set_snapshot(snapshot(12.5, vec![container("web", "running", "healthy")])).await;
    let mut lines: Vec<_> = (0..60).map(|n| log_line(n * 700, &request(n), n % 7 == 3)).collect();
    lines.push(log_line(60_000, &"a line that is far too wide for a phone ".repeat(8), false));
    web.set_log("web", lines).await;
    let mut busy = register("db-with-a-rather-long-name-2.internal.example");
    busy["labels"] = json!({"env": "staging", "role": "db", "vmkit.deploy": "d-17",
                            "vmkit.container": "postgres"});
    let busy = Agent::start(gateway, busy).await;
    let crashing = container("worker-with-a-long-name", "restarting", "none");
    let unwell = container("postgres", "running", "unhealthy");
    let mut full = snapshot(97.9, vec![crashing, unwell, container("old", "exited", "none")]);
    full["disk_pct"] = json!(98.4);
    full["host"]["disks"]["/"]["used_pct"] = json!(98.4);
    busy.set_snapshot(full).await;
    let mut rolled_back = register("canary-3");
    rolled_back["upgrade"]["rolled_back"] = json!([{"version": "1.1.0", "checksum_sha256": "2".repeat(64),
        "reason": "it started and ended three times", "cause": "crashed", "banned": true,
        "at": "2026-01-01T00:03:00Z"}]);
    let canary = Agent::start(gateway, rolled_back).await;
    Agent::start(gateway, register("lost-4")).await.lose();
    vec![web, busy, canary]
}

fn request(n: u64) -> String {
    match n % 7 {
        3 => format!("connection to postgres:5432 refused, attempt {n}"),
        _ => format!("GET /api/orders/{} 200 {} ms", 4711 + n * 13, n * 37 % 90 + 3),
    }
}

const PATHS: [(&str, &str); 4] = [
    ("overview", "/"),
    ("instance", "/instances/web-1"),
    ("trouble", "/instances/db-with-a-rather-long-name-2.internal.example"),
    ("logs", "/instances/web-1/logs/web"),
];

pub async fn open(world: &World, path: &str) {
    world.open(path).await;
    if path.contains("/logs/") {
        world
            .wait_for("return document.getElementById('log-state').textContent === 'Following'")
            .await;
        world.wait_for("return document.querySelectorAll('#lines .line').length > 20").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_dark_light_and_on_a_phone() {
    world(async |world| {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut looks: Vec<(&str, &str)> = vec![("sign-in", "/sign-in")];
        let _agents = fleet(world).await;
        for signed_in in [false, true] {
            if signed_in {
                world.sign_in().await;
                looks = PATHS.to_vec();
            }
            for (name, path) in &looks {
                for (size, is_dark) in
                    [(SCREEN, false), (SCREEN, true), (PHONE, false), (PHONE, true)]
                {
                    world.set_size(size.0, size.1, size == PHONE).await;
                    world.set_dark(is_dark).await;
                    open(world, path).await;
                    for finding in findings(world).await {
                        let look = format!("{name}, {} wide, dark: {is_dark}", size.0);
                        found.entry(finding).or_default().push(look);
                    }
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wider_than_a_phone() {
    world(async |world| {
        let _agents = fleet(world).await;
        world.set_size(PHONE.0, PHONE.1, true).await;
        world.open("/sign-in").await;
        assert_fits(world, "sign-in").await;
        world.sign_in().await;
        for (name, path) in PATHS {
            open(world, path).await;
            assert_fits(world, name).await;
        }
    })
    .await;
}

async fn assert_fits(world: &World, name: &str) {
    let wide = "const root = document.scrollingElement;
        if (root.scrollWidth <= innerWidth && innerWidth <= 360) { return '' }
        const wide = [...document.querySelectorAll('body *')].filter((one) =>
            one.getBoundingClientRect().right > 360).map((one) => one.outerHTML.slice(0, 200));
        return `${root.scrollWidth} wide: ${wide.slice(0, 5).join('\\n')}`";
    let wide = world.eval(wide).await;
    assert_eq!(wide, "", "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_would_find_something() {
    world(async |world| {
        world.open("/sign-in").await;
        world.eval("document.documentElement.removeAttribute('lang')").await;
        let found = findings(world).await;
        assert!(found.iter().any(|finding| finding.contains("html-has-lang")), "{found:?}");
    })
    .await;
}
