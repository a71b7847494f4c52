//! From the key to the log of a container and back, without a mouse.

use thirtyfour::Key;

use crate::agent::{Agent, log_line, register};
use crate::gateway::KEY;
use crate::world::{World, world};

/// What has the focus, in words, and whether one sees that it has.
const FOCUSED: &str = "const one = document.activeElement;
    const words = (one.ariaLabel || one.innerText || one.labels?.[0]?.innerText || one.id).trim();
    const style = getComputedStyle(one);
    const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    return `${seen ? '' : 'unseen '}${words}`";
/// More than any page has of places to stop at.
const STOPS: usize = 60;

/// Presses Tab until what has the focus begins with these words. Every stop on the way shows its focus.
async fn tab_to(world: &World, words: &str) {
    let mut passed = Vec::new();
    for _ in 0..STOPS {
        world.press(Key::Tab).await;
        let focused = world.eval(FOCUSED).await.as_str().unwrap_or_default().to_owned();
        assert!(!focused.starts_with("unseen "), "the focus is not seen: {focused}");
        if focused.starts_with(words) {
            return;
        }
        passed.push(focused);
    }
    panic!("no way by Tab to {words:?}, only {passed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_can_be_done_by_keys() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        let lines = (0..100).map(|n| log_line(n, &format!("line {n}"), false)).collect();
        agent.set_log("web", lines).await;
        world.open("/").await;
        world.press(KEY).await;
        world.press(Key::Enter).await;
        world.wait_for("return location.pathname === '/'").await;
        world.wait_for_text("vmkit-test-1").await;
        tab_to(world, "Skip to the content").await;
        world.press(Key::Enter).await;
        world.wait_for("return document.activeElement.id === 'main'").await;
        tab_to(world, "vmkit-test-1").await;
        world.press(Key::Enter).await;
        world.wait_for("return location.pathname === '/instances/vmkit-test-1'").await;
        world.wait_for("return document.querySelector('a[href$=\"/logs/web\"]')").await;
        tab_to_link(world, "/logs/web").await;
        world.press(Key::Enter).await;
        world.wait_for_text("line 99").await;

        tab_to(world, "Pause").await;
        world.press(" ").await;
        world.wait_for("return document.getElementById('pause').ariaPressed === 'true'").await;
        tab_to(world, "Keyboard shortcuts").await;
        world.press(" ").await;
        tab_to(world, "Log of web").await;
        world.press("/").await;
        let still = "return document.activeElement.id";
        assert_eq!(world.eval(still).await, "lines", "the shortcuts are off");
        world.press(Key::Home).await;
        let top = "return document.getElementById('lines').scrollTop";
        world.wait_for(&format!("{top} === 0")).await;
    })
    .await;
}

async fn tab_to_link(world: &World, end: &str) {
    for _ in 0..STOPS {
        world.press(Key::Tab).await;
        let href = world.eval("return document.activeElement.href || ''").await;
        if href.as_str().is_some_and(|href| href.ends_with(end)) {
            return;
        }
    }
    panic!("no way by Tab to a link to {end}");
}
