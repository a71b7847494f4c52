//! What the other tests rely on: faults of a page are seen, and nothing is left behind.

use std::path::Path;
use std::sync::Mutex;

use futures_util::FutureExt;
use serde_json::json;
use vmkit_test_support::{PATIENCE, poll_until};

use crate::agent::{Agent, register};
use crate::world::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_on_the_console_and_requests_to_other_hosts_are_seen() {
    world(async |world| {
        world.open("/api/openapi.json").await;
        // Chromium asks this page for an icon, which there is not.
        world.console().await;
        let script = "setTimeout(() => { throw new Error('vmkit-test-error') });
            fetch('http://192.0.2.1/vmkit-test-host').catch(() => document.title = 'failed')";
        world.eval(script).await;
        world.wait_for("return document.title === 'failed'").await;
        // The driver hears of both a little later than the page.
        let (said, sent) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let both = async || {
            let entries = world.console().await;
            said.lock().unwrap().extend(entries);
            let requests = world.requests().await;
            sent.lock().unwrap().extend(requests.iter().map(|request| request["url"].to_string()));
            let has = |lines: &Mutex<Vec<String>>, word: &str| {
                lines.lock().unwrap().iter().any(|line| line.contains(word))
            };
            let all = has(&said, "vmkit-test-error")
                && has(&said, "ERR_")
                && has(&sent, "vmkit-test-host");
            all.then_some(())
        };
        world.until("an error, a failed request and its address", both).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_that_fails_leaves_no_process_and_no_folder() {
    let folder = Mutex::new(String::new());
    let test = world(async |world| {
        world.open("/api/openapi.json").await;
        *folder.lock().unwrap() = world.scratch().path().display().to_string();
        panic!("as it should");
    });
    let outcome = std::panic::AssertUnwindSafe(test).catch_unwind().await;
    assert!(outcome.is_err());
    let folder = folder.into_inner().unwrap();
    assert!(folder.contains("vmkit-test-") && !Path::new(&folder).exists(), "{folder}");
    let names_it = |path: &Path| {
        std::fs::read(path.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder))
    };
    poll_until("the end of all processes", PATIENCE, || {
        let left =
            std::fs::read_dir("/proc").unwrap().flatten().any(|entry| names_it(&entry.path()));
        (!left).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fake_agent_is_an_agent() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.write("web", vec![crate::agent::log_line(0, "hello", true)]).await;
        world.gateway.command("logs vmkit-test-1 web 7");
        world.gateway.command("metrics vmkit-test-1");
        let mut answers = poll_until("two answers", PATIENCE, || {
            let said = world.gateway.said();
            let answers = said.into_iter().filter(|line| line.contains("\"answer\""));
            Some(answers.collect::<Vec<_>>()).filter(|answers| answers.len() == 2)
        });
        answers.sort();
        assert!(answers[0].contains("\"from\":\"stderr\""), "{answers:?}");
        assert!(answers[1].contains("cpu_pct"), "{answers:?}");
        let faults = |line: &String| line.contains("violation") || line.contains("unmatched");
        assert!(!world.gateway.said().iter().any(faults), "{:#?}", world.gateway.said());
        assert_eq!(
            agent.asked("logs_fetch").await[0]["params"],
            json!({"container": "web", "lines": 7})
        );
    })
    .await;
}
