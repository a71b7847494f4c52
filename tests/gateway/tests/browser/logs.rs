//! The log view: follows, pauses, searches, and says what is missing and why it ends.

use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::Key;

use crate::agent::{Agent, log_line, register};
use crate::world::{World, world};

const VM: &str = "vmkit-test-1";

fn lines(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|n| log_line(n, &format!("line {n}"), n % 10 == 3)).collect()
}

/// A signed-in browser at the log of `web`, which has had ten lines and is followed.
async fn at_log(world: &World) -> Agent {
    let agent = Agent::start(&world.gateway, register(VM)).await;
    agent.set_log("web", lines(0..10)).await;
    world.sign_in().await;
    world.open("/instances/vmkit-test-1/logs/web").await;
    world.wait_for_text("line 9").await;
    wait_for_state(world, "Following").await;
    agent
}

async fn wait_for_state(world: &World, text: &str) {
    let script =
        format!("return document.getElementById('log-state').textContent.startsWith({text:?})");
    world.wait_for(&script).await;
}

/// What the log shows, a string a line; notes are in brackets.
async fn shown(world: &World) -> Vec<String> {
    let script = "return [...document.querySelectorAll('#lines .line, #lines .note')].map((one) =>
        one.className === 'note' ? `[${one.textContent}]` : one.lastChild.textContent)";
    let lines = world.eval(script).await;
    serde_json::from_value(lines).expect("strings")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_and_pauses_and_says_how_many_lines_wait() {
    world(async |world| {
        let agent = at_log(world).await;
        agent.write("web", lines(10..12)).await;
        world.wait_for_text("line 11").await;

        world.press(" ").await;
        wait_for_state(world, "Paused: 0 lines wait").await;
        agent.write("web", lines(12..1246)).await;
        wait_for_state(world, "Paused: 1,234 lines wait").await;
        assert_eq!(shown(world).await.len(), 12, "what is looked at stays");
        world.press(" ").await;
        world.wait_for_text("line 1245").await;
        let expected: Vec<String> = (0..1246).map(|n| format!("line {n}")).collect();
        assert_eq!(shown(world).await, expected);

        world.press(" ").await;
        agent.write("web", lines(1246..1247)).await;
        wait_for_state(world, "Paused: 1 line waits").await;
        world.press(Key::End).await;
        world.wait_for_text("line 1246").await;
        wait_for_state(world, "Following").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrolling_up_pauses_and_scrolling_down_goes_on() {
    world(async |world| {
        let agent = at_log(world).await;
        agent.write("web", lines(10..400)).await;
        world.wait_for_text("line 399").await;
        world.eval("document.getElementById('lines').focus()").await;
        world.press(Key::PageUp).await;
        wait_for_state(world, "Paused, because you scrolled up: 0 lines wait").await;
        agent.write("web", lines(400..402)).await;
        wait_for_state(world, "Paused, because you scrolled up: 2 lines wait").await;
        let end = world.find("#lines").await;
        end.send_keys(Key::PageDown + Key::PageDown).await.unwrap();
        wait_for_state(world, "Following").await;
        world.wait_for_text("line 401").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_error_is_told_apart_times_and_wrapping_are_switches_that_stay() {
    world(async |world| {
        let agent = at_log(world).await;
        let marked = "return [...document.querySelectorAll('#lines .line')].map((line) =>
            getComputedStyle(line, '::before').content).map((content) => content.includes('stderr'))";
        let expected: Vec<bool> = (0..10).map(|n| n % 10 == 3).collect();
        assert_eq!(world.eval(marked).await, json!(expected));

        assert!(world.text().await.contains("2026-01-01 00:00:00.003"));
        world.click("#times").await;
        world.wait_without_text("00:00:00.003").await;
        agent.write("web", vec![log_line(10, &"wide ".repeat(200), false)]).await;
        let is_wide = "const log = document.getElementById('lines');
            return log.scrollWidth > log.clientWidth";
        world.wait_for(is_wide).await;
        world.click("#wrap").await;
        assert_eq!(world.eval(is_wide).await, false);

        world.reload().await;
        world.wait_for_text("line 9").await;
        assert_eq!(world.eval(is_wide).await, false);
        assert!(!world.text().await.contains("00:00:00.003"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_is_said_where_it_is_missing() {
    world(async |world| {
        let agent = at_log(world).await;
        agent.write_after("web", lines(2000..2001), 1234).await;
        world.wait_for_text("line 2000").await;
        agent.write_after("web", lines(2001..2002), 1).await;
        world.wait_for_text("line 2001").await;
        let shown = shown(world).await;
        let end = &shown[10..];
        assert_eq!(end[0], "[1,234 lines were dropped here: they came too fast]");
        assert_eq!(end[1..3], ["line 2000", "[1 line was dropped here: they came too fast]"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_why_it_ends_and_goes_on_where_the_log_does() {
    world(async |world| {
        let agent = at_log(world).await;
        agent.end_container("web").await;
        world.wait_for_text("The container has ended.").await;
        agent.write("web", lines(10..13)).await;
        world.click("#again").await;
        wait_for_state(world, "Following").await;
        world.wait_for_text("line 12").await;
        world.wait_without_text("The container has ended.").await;
        let expected: Vec<String> = (0..13).map(|n| format!("line {n}")).collect();
        assert_eq!(shown(world).await, expected, "none is missing, none is there twice");

        agent.lose();
        world.wait_for_text("The agent was lost.").await;
        let agent = Agent::start(&world.gateway, register(VM)).await;
        agent.set_log("web", lines(0..15)).await;
        world.wait_for_text("line 14").await;
        let expected: Vec<String> = (0..15).map(|n| format!("line {n}")).collect();
        assert_eq!(shown(world).await, expected);

        world.open("/instances/vmkit-test-1/logs/nobody").await;
        world.wait_for_text("no container nobody; see docker ps -a").await;
        // Chromium tells of every answer that is an error.
        world.console().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_walks_back_tells_how_far_it_is_and_can_be_cancelled() {
    world(async |world| {
        let agent = at_log(world).await;
        let mut log = lines(0..6000);
        log[1500]["text"] = json!("A Needle in <b>hay</b>");
        log[5990]["text"] = json!("a needle too");
        agent.set_log("web", log).await;
        world.press("/").await;
        world.press("needle").await;
        world.press(Key::Enter).await;
        world
            .wait_for_text("5,000 lines searched, back to 2026-01-01 00:00:01.000: 1 match.")
            .await;
        world.wait_for_text("An agent gives the last 5,000 lines of a log").await;
        let matches =
            "return [...document.querySelectorAll('#matches li')].map((one) => one.innerText)";
        let found = world.eval(matches).await;
        assert_eq!(found, json!(["2026-01-01 00:00:05.990 a needle too"]));

        world.click("#ignore-case").await;
        world.click("#search button[type=submit]").await;
        world
            .wait_for_text("5,000 lines searched, back to 2026-01-01 00:00:01.000: 2 matches.")
            .await;
        let found = world.eval(matches).await;
        assert_eq!(found[1], "2026-01-01 00:00:01.500 A Needle in <b>hay</b>");
        let marked = world.eval("return document.querySelector('#matches mark').textContent").await;
        assert_eq!(marked, "needle");

        agent.set_stream_pause(Duration::from_secs(3600)).await;
        world.click("#search button[type=submit]").await;
        world.wait_for_text("Searching for “needle”").await;
        world.click("#cancel").await;
        world.wait_for_text("Cancelled. 0 lines searched: 0 matches.").await;
        let asked = agent.asked("logs_fetch").await;
        let streams = asked.iter().filter(|request| request["params"]["stream"] == true);
        let lines: Vec<_> =
            streams.map(|request| request["params"]["lines"].as_u64().unwrap()).collect();
        assert_eq!(lines, [250, 1000, 5000, 250, 1000, 5000, 250]);
        world.click("#close").await;
        assert_eq!(world.eval("return document.getElementById('results').hidden").await, true);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_text_whatever_is_in_it() {
    world(async |world| {
        let agent = at_log(world).await;
        let texts =
            ["<img src=x onerror=alert(1)>", "\u{1b}[1;31mred\u{1b}[0m text", "\u{0}\u{202e}end"];
        let hostile = texts.iter().zip(10..).map(|(text, n)| log_line(n, text, false));
        agent.write("web", hostile.collect()).await;
        world.wait_for_text("red text").await;
        let shown = shown(world).await;
        assert_eq!(shown[10..12], ["<img src=x onerror=alert(1)>", "red text"]);
        assert_eq!(world.eval("return document.images.length").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_searched_is_said() {
    world(async |world| {
        let _agent = at_log(world).await;
        let statuses = world
            .eval_async(
                "const done = arguments[arguments.length - 1];
                const log = (id, container) => `/page/instances/${id}/logs/${container}/`;
                const own = log('vmkit-test-1', 'web');
                Promise.all([own + 'search', own + 'search?text=', own + 'search?text=' + 'x'.repeat(257),
                    own + 'last?lines=0', own + 'last?lines=5001', log('vmkit-test-1', '-f') + 'search?text=x',
                    log('vmkit-test-2', 'web') + 'search?text=x', log('vmkit-test-2', 'web') + 'last?lines=1',
                    own + 'search?text=' + 'x'.repeat(256),
                ].map((url) => fetch(url).then((response) => response.status))).then(done)",
            )
            .await;
        assert_eq!(statuses, json!([400, 400, 400, 400, 400, 400, 404, 404, 200]));
        world.open("/instances/vmkit-test-2/logs/web").await;
        world.wait_for_text("No instance has this id.").await;
        world.open("/deploys/none/logs").await;
        world.wait_for_text("no instance has the label vmkit.deploy with this value.").await;
        // Chromium tells of every answer that is an error.
        world.console().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_deploy_is_that_of_its_container() {
    world(async |world| {
        let mut deployed = register(VM);
        deployed["labels"] = json!({"vmkit.deploy": "d-17", "vmkit.container": "web"});
        let agent = Agent::start(&world.gateway, deployed).await;
        agent.set_log("web", lines(0..3)).await;
        world.sign_in().await;
        world.open("/deploys/d-17/logs").await;
        world.wait_for("return location.pathname === '/instances/vmkit-test-1/logs/web'").await;
        world.wait_for_text("line 2").await;
        world.click("a[href='/deploys/d-17/logs']").await;
        world.wait_for_text("line 2").await;
        world.open("/instances/vmkit-test-1/logs/web/text").await;
        world.wait_for_text("2026-01-01T00:00:00.002000000Z line 2").await;
        // Chromium asks this text for an icon.
        world.console().await;
    })
    .await;
}
