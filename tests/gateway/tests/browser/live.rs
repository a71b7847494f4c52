//! What reaches open tabs by itself, over one stream for all tabs of a browser.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::agent::{Agent, log_line, register};
use crate::world::{World, world};

const STREAM: &str = "/page/stream";
/// More than a browser opens connections to a site.
const TABS: usize = 7;
const UNTOUCHED: &str = "return window.vmkitMark === true";

/// A page that is loaded anew has lost the mark.
async fn mark(world: &World) {
    world.eval("window.vmkitMark = true").await;
}

async fn wait_for_stream(world: &World, path: &str) {
    world.until("a stream", async || (world.answered(path) > 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_agent_raises_the_warning_in_all_tabs_and_its_register_clears_it() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.set_log("web", vec![log_line(0, "line 0", false)]).await;
        world.sign_in().await;
        let mut tabs = vec![world.tab().await];
        mark(world).await;
        for path in ["/instances/vmkit-test-1", "/instances/vmkit-test-1/logs/web"] {
            tabs.push(world.new_tab().await);
            world.open(path).await;
            mark(world).await;
        }
        // Lines that are asked for while the agent is lost are an error in the console.
        world.wait_for_text("line 0").await;
        wait_for_stream(world, STREAM).await;
        let lost = "1 agent is lost";
        agent.lose();
        for tab in &tabs {
            world.switch(tab).await;
            world.wait_for_text(lost).await;
        }
        let _agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        for tab in &tabs {
            world.switch(tab).await;
            world.wait_without_text(lost).await;
            assert_eq!(world.eval(UNTOUCHED).await, true, "the page was not loaded again");
        }
    })
    .await;
}

/// A tab with the overview, which reads the stream, and an agent whose container `web` has a line.
async fn overview(world: &mut World) -> Agent {
    let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
    agent.set_log("web", vec![log_line(0, "line 0", false)]).await;
    world.sign_in().await;
    wait_for_stream(world, STREAM).await;
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_tabs_work_and_share_one_stream() {
    world(async |world| {
        let agent = overview(world).await;
        let before = world.answered(STREAM);
        let mut tabs = Vec::new();
        for _ in 0..TABS {
            tabs.push(world.new_tab().await);
            world.open("/instances/vmkit-test-1/logs/web").await;
            world.wait_for_text("line 0").await;
            mark(world).await;
        }
        agent.write("web", vec![log_line(1, "line 1", false)]).await;
        for tab in &tabs {
            world.switch(tab).await;
            world.wait_for_text("line 1").await;
            assert_eq!(world.eval(UNTOUCHED).await, true);
        }
        assert_eq!(world.answered(STREAM), before, "no tab has opened a stream of its own");
        let asked = agent.asked("logs_fetch").await;
        let follows = asked.iter().filter(|request| request["params"]["follow"] == true).count();
        assert_eq!(follows, 1, "the agent serves one follower");
    })
    .await;
}

/// Browsers grant locks in their own time. The tab that reads takes one whose lock is free for closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_gets_its_lock_late_is_not_taken_for_closed() {
    world(async |world| {
        let agent = overview(world).await;
        world.new_tab().await;
        let late = "const { request } = LockManager.prototype;
            LockManager.prototype.request = function (...all) {
                return new Promise((done) => setTimeout(done, 500)).then(() => request.apply(this, all));
            };";
        world.cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": late})).await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        world.wait_for_text("line 0").await;
        agent.write("web", vec![log_line(1, "line 1", false)]).await;
        world.wait_for_text("line 1").await;
    })
    .await;
}

/// The overview, which was there first, reads the stream for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_log_reaches_a_tab_that_another_tab_reads_for() {
    world(async |world| {
        let agent = overview(world).await;
        let before = world.answered(STREAM);
        world.new_tab().await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        world.wait_for_text("line 0").await;
        let is_followed = async || agent.is_followed("web").await.then_some(());
        world.until("the container is followed", is_followed).await;
        assert_eq!(world.answered(STREAM), before, "the tab has opened no stream of its own");

        agent.end_container("web").await;
        world.wait_for_text("The container has ended.").await;
        agent.write("web", vec![log_line(1, "line 1", false)]).await;
        world.click("#again").await;
        world.wait_for_text("line 1").await;
        world.wait_without_text("The container has ended.").await;

        agent.lose();
        world.wait_for_text("The agent was lost.").await;
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        let lines = [0, 1, 2].map(|n| log_line(n, &format!("line {n}"), false));
        agent.set_log("web", lines.to_vec()).await;
        world.wait_for_text("line 2").await;
        world.wait_without_text("The agent was lost.").await;
        // Chromium tells of lines that are asked for while the agent is lost.
        world.console().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_leader_is_closed_another_tab_goes_on_without_a_gap() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        world.sign_in().await;
        wait_for_stream(world, STREAM).await;
        let leader = world.tab().await;
        let reader = world.new_tab().await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        let is_followed = async || agent.is_followed("web").await.then_some(());
        world.until("the container is followed", is_followed).await;
        world.requests().await;

        let is_over = AtomicBool::new(false);
        let write = async {
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                agent.write("web", vec![log_line(n * 20, &format!("line {n}"), false)]).await;
                n += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            n
        };
        let close = async {
            world.wait_for_text("line 20").await;
            world.switch(&leader).await;
            world.close_tab().await;
            world.switch(&reader).await;
            let is_second = async || (world.answered(STREAM) >= 2).then_some(());
            world.until("a second stream", is_second).await;
            world.wait_for(&more_lines_than_now(world).await).await;
            is_over.store(true, Ordering::Relaxed);
        };
        let (written, ()) = tokio::join!(write, close);
        world.wait_for_text(&format!("line {}", written - 1)).await;
        let numbers = "return [...document.querySelectorAll('#lines .line')].map((line) =>
            Number(line.lastChild.textContent.slice(5)))";
        let expected: Vec<u64> = (0..written).collect();
        assert_eq!(world.eval(numbers).await, json!(expected), "none is missing, none twice");

        let requests = world.requests().await;
        let streams = requests
            .iter()
            .filter(|request| request["url"].as_str().is_some_and(|url| url.ends_with(STREAM)));
        let resumed = streams.map(|request| {
            let headers = request["headers"].as_object().cloned().unwrap_or_default();
            headers.keys().any(|name| name.eq_ignore_ascii_case("last-event-id"))
        });
        assert_eq!(resumed.collect::<Vec<_>>(), [true], "it resumes after the last event");
    })
    .await;
}

async fn more_lines_than_now(world: &World) -> String {
    let count = "document.querySelectorAll('#lines .line').length";
    let now = world.eval(&format!("return {count}")).await;
    format!("return {count} > {now} + 20")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_killed_and_comes_back_is_found_again() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.set_log("web", vec![log_line(0, "line 0", false)]).await;
        world.sign_in().await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        world.wait_for_text("line 0").await;
        mark(world).await;
        world.restart_gateway();
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.set_log("web", vec![log_line(0, "line 0", false), log_line(1, "line 1", true)]).await;
        world.wait_for_text("line 1").await;
        let lines = "return [...document.querySelectorAll('#lines .line')].map((line) =>
            line.lastChild.textContent)";
        assert_eq!(world.eval(lines).await, json!(["line 0", "line 1"]));
        assert_eq!(world.eval(UNTOUCHED).await, true);
        // Chromium tells that it could not connect.
        world.console().await;
    })
    .await;
}
