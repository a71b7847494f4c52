//! The log view under 10,000 lines a second: its tab stays small, and answers keys.
//!
//! `VMKIT_FLOOD_SECS=60` floods it for as long as the promise says; by default it is shorter.

use std::time::Duration;

use serde_json::json;

use crate::agent::{Agent, register};
use crate::browser::Wants;
use crate::world::World;

const RATE: u64 = 10_000;
const DEFAULT_SECS: u64 = 15;
/// From a key to the next frame that the page has drawn with its effect, for nine keys of ten: the tenth
/// may wait for other programs, where more of them run than there are processors.
const KEY_MS: f64 = 100.0;
/// Of what scripts hold, garbage that is not collected yet included.
const HEAP: u64 = 64 << 20;
/// Of the tab's process, its own memory.
const PROCESS: u64 = 256 << 20;
/// Elements on the page: 5,000 lines of two, and the rest.
const ELEMENTS: u64 = 12_000;

/// Counts how long each key takes, from the time stamp of its event, which is that of the input, to the
/// frame after it.
const WATCH: &str = "window.keys = [];
    document.addEventListener('keydown', (event) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => window.keys.push(performance.now() - event.timeStamp);
        channel.port2.postMessage(null);
    }), true)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_lines_leaves_the_tab_small_and_quick() {
    let seconds = std::env::var("VMKIT_FLOOD_SECS").ok().map(|text| text.parse().expect("seconds"));
    let time = Duration::from_secs(seconds.unwrap_or(DEFAULT_SECS));
    let world = World::start(Wants { quiet: true }).await;
    let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
    world.sign_in().await;
    world.open("/instances/vmkit-test-1/logs/web").await;
    let following = "return document.getElementById('log-state').textContent === 'Following'";
    world.wait_for(following).await;
    world.eval(WATCH).await;
    world.cdp("Performance.enable", json!({})).await;
    let before = measure(&world).await.process >> 20;

    let measured = async {
        let mut most = Measured::default();
        let started = std::time::Instant::now();
        while started.elapsed() < time {
            // Pauses and goes on. Each waits for its effect.
            for expected in ["true", "false"] {
                world.press(" ").await;
                let pressed =
                    format!("return document.getElementById('pause').ariaPressed === '{expected}'");
                world.wait_for(&pressed).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            most = most.max(measure(&world).await);
        }
        most
    };
    let (sent, most) = tokio::join!(agent.flood("web", RATE, time), measured);

    let keys = world.eval("return window.keys").await;
    let mut keys: Vec<f64> = serde_json::from_value(keys).expect("numbers");
    keys.sort_by(f64::total_cmp);
    let slowest = keys.last().copied().expect("keys were pressed");
    let [median, most_keys] = [50, 90].map(|share| keys[keys.len() * share / 100]);
    let Measured { heap, process, elements } = most;
    println!(
        "{sent} lines in {time:?}: JS heap at most {} MiB, tab's process {} MiB \
         (before: {before} MiB), {elements} elements; \
         {} keys, median {median:.0} ms, nine of ten within {most_keys:.0} ms, slowest {slowest:.0} ms",
        heap >> 20,
        process >> 20,
        keys.len()
    );
    assert!(sent >= RATE * time.as_secs() * 9 / 10, "only {sent} lines were sent");
    // The last line arrives, and what did not is counted.
    let last = format!("/api/orders/{} ", sent - 1);
    world.wait_for_text(&last).await;
    assert!(heap < HEAP && process < PROCESS && elements < ELEMENTS);
    assert!(keys.len() >= 10 && most_keys < KEY_MS, "{keys:?}");
    world.end().await;
}

#[derive(Default)]
struct Measured {
    heap: u64,
    process: u64,
    elements: u64,
}

impl Measured {
    fn max(self, other: Measured) -> Measured {
        Measured {
            heap: self.heap.max(other.heap),
            process: self.process.max(other.process),
            elements: self.elements.max(other.elements),
        }
    }
}

async fn measure(world: &World) -> Measured {
    let metrics = world.cdp("Performance.getMetrics", json!({})).await;
    let metrics = metrics["metrics"].as_array().cloned().unwrap_or_default();
    let heap = metrics.iter().find(|metric| metric["name"] == "JSHeapUsedSize");
    let elements = world.eval("return document.getElementsByTagName('*').length").await;
    Measured {
        heap: heap.and_then(|metric| metric["value"].as_f64()).expect("a heap") as u64,
        process: largest_tab(world),
        elements: elements.as_u64().expect("a count"),
    }
}

/// Of this browser's largest renderer: its own memory, without the program that all processes share.
fn largest_tab(world: &World) -> u64 {
    let profile = world.scratch().path().join("profile").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("a Linux").flatten();
    let renderers = processes.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("--type=renderer") && line.contains(&profile)
    });
    let resident = |status: String| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let sizes = renderers.filter_map(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        Some(resident(status)? << 10)
    });
    sizes.max().expect("a tab has a process")
}
