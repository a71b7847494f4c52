//! 10,000 instances: the first page stays small and comes fast, and what is wrong is on it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmkit_gateway::agents::fleet::{Change, Fleet};
use vmkit_gateway::agents::register::Register;
use vmkit_gateway::agents::snapshot::Snapshot;
use vmkit_gateway::clock::Moment;
use vmkit_gateway::store::Store;

use crate::support::{Gateway, data, register, scratch};

const INSTANCES: usize = 10_000;
const FIRST_LOAD: usize = 150_000;

fn fill(folder: &Path) {
    let (store, _) = Store::open(Some(folder)).unwrap();
    for n in 0..INSTANCES {
        let mut told: Value = register(&format!("instance-{n:05}-of-a-large-fleet"));
        told["labels"] = json!({"env": "prod", "role": "web", "site": "fra", "team": "payments", "rack": n.to_string()});
        let read = Register::read(told).unwrap();
        let id = read.instance_id.clone();
        let mut fleet = Fleet::default();
        fleet.apply(
            &id,
            Change::Registered { session: 1, register: Box::new(read) },
            Moment::now(),
        );
        store.keep(Vec::new(), fleet.get(&id));
        let disk = if n == 9_876 { 97 } else { 40 };
        let snapshot =
            json!({"cpu_pct": 12.5, "mem_pct": 40, "disk_pct": disk, "container_count": 3});
        store.snapshot(id, Arc::new(Snapshot::read(snapshot, Moment::now()).unwrap()));
    }
    store.end();
}

/// The page and all that it loads, as it goes over the wire.
async fn weigh(gateway: &Gateway, path: &str, cookie: &str) -> usize {
    let mut bytes = 0;
    let mut left = vec![path.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(path) = left.pop() {
        let request = gateway.get(&path).header("cookie", cookie).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(
            answer.headers().get("content-encoding").map(|value| value.as_bytes()),
            Some(&b"gzip"[..]),
            "{path}"
        );
        bytes += answer.bytes().await.unwrap().len();
        let text = gateway.page(&path, cookie).await;
        let linked = text.split('"').filter(|part| part.starts_with("/page/assets/"));
        // And what a script imports, which stands beside it.
        let imported = text.split('"').filter_map(|part| part.strip_prefix("./"));
        let beside = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let imported = imported.map(|name| format!("{beside}/{name}"));
        for path in linked.map(str::to_owned).chain(imported) {
            if seen.insert(path.clone()) {
                left.push(path);
            }
        }
    }
    assert!(seen.iter().any(|path| path.ends_with("stream.js")), "{seen:?}");
    bytes
}

#[tokio::test]
async fn the_first_load_is_small_and_shows_what_is_wrong() {
    let folder = scratch();
    fill(&data(folder.path()));
    let gateway = Gateway::start_in(folder, &["--plain"]);
    let cookie = gateway.sign_in(&gateway.keys.api("read,logs,operate")).await;

    let bytes = weigh(&gateway, "/", &cookie).await;
    println!("the first load of {INSTANCES} instances has {bytes} bytes");
    assert!(bytes <= FIRST_LOAD, "{bytes} bytes");

    // All are lost here, since nobody is connected: that outranks a full disk.
    let started = Instant::now();
    let page = gateway.page("/", &cookie).await;
    // A debug build takes a tenth of this.
    println!("it takes {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(page.contains("10,000 agents are lost"), "the warning counts them");
    assert!(page.contains("1–50 of 10,000"));
    assert!(page.contains("href=\"/?page=2\""));
    let found = gateway.page("/?q=09876", &cookie).await;
    assert!(
        found.contains("/ is 97 % full")
            && found.contains("/instances/instance-09876-of-a-large-fleet")
    );

    let one = weigh(&gateway, "/instances/instance-09876-of-a-large-fleet", &cookie).await;
    println!("one instance has {one} bytes");
    assert!(one <= FIRST_LOAD, "{one} bytes");
}
