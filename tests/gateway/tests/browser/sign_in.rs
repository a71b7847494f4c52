//! Signing in, and what becomes of a page whose key is revoked.

use serde_json::json;
use thirtyfour::Key;

use crate::agent::{Agent, log_line, register};
use crate::world::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_signs_in_and_leads_to_where_one_wanted_to_go() {
    world(async |world| {
        let _agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        world.open("/instances/vmkit-test-1").await;
        assert!(world.address().await.contains("/sign-in?next="), "{}", world.address().await);
        world.press("vmk_no-such-key-0000000000000000000000000").await;
        world.press(Key::Enter).await;
        world.wait_for_text("This API key is not valid.").await;

        world.fill("input[name=key]", crate::gateway::KEY).await;
        world.press(Key::Enter).await;
        let arrived = "return location.pathname === '/instances/vmkit-test-1'";
        world.wait_for(arrived).await;
        world.wait_for_text("vmkit-test-1").await;
        assert_eq!(world.eval("return document.cookie").await, "", "no script sees the cookie");
        let secret = world.eval("return JSON.stringify([localStorage, sessionStorage])").await;
        assert!(!secret.as_str().unwrap().contains("vmk_"), "{secret}");

        world.click("form[action='/sign-out'] button").await;
        world.wait_for("return location.pathname === '/sign-in'").await;
        assert!(!world.text().await.contains("Your session is over"));
        world.open("/").await;
        world.wait_for("return location.pathname === '/sign-in'").await;
        // Chromium tells of the answer to the wrong key.
        world.console().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_every_page_and_says_why() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.set_log("web", vec![log_line(0, "a secret of production", false)]).await;
        let scopes = ["add", "--name", "vmkit-test", "--scopes", "read,logs"];
        let key = world.keys.done(&scopes);
        let list = world.keys.done(&["list"]);
        let id = list.lines().last().and_then(|line| line.split_whitespace().next());
        world.sign_in_with(&key).await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        world.wait_for_text("a secret of production").await;
        let watching = world.tab().await;
        world.new_tab().await;
        world.open("/").await;

        world.keys.done(&["revoke", id.expect("a key")]);
        for tab in [world.tab().await, watching] {
            world.switch(&tab).await;
            world.wait_for_text("Your session is over").await;
            assert!(!world.text().await.contains("a secret of production"));
        }
        // Chromium tells of every answer that is an error.
        world.console().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_the_scope_sees_no_log() {
    world(async |world| {
        let agent = Agent::start(&world.gateway, register("vmkit-test-1")).await;
        agent.set_log("web", vec![log_line(0, "a secret of production", false)]).await;
        let key = world.keys.done(&["add", "--name", "vmkit-test", "--scopes", "read"]);
        world.sign_in_with(&key).await;
        world.open("/instances/vmkit-test-1/logs/web").await;
        world.wait_for_text("lacks the scope logs").await;
        let statuses = world
            .eval_async(
                "const done = arguments[arguments.length - 1];
                const path = '/page/instances/vmkit-test-1/logs/web/';
                Promise.all(['last?lines=9', 'search?text=a'].map((one) =>
                    fetch(path + one).then((response) => response.status))).then(done)",
            )
            .await;
        assert_eq!(statuses, json!([403, 403]));
        assert!(agent.asked("logs_fetch").await.is_empty());
        // Chromium tells of every answer that is an error.
        world.console().await;
    })
    .await;
}
