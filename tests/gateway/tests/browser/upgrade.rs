//! The form that asks for an upgrade, its progress, and its end in words. The fake agent plays its part.

use serde_json::{Value, json};

use crate::agent::{Agent, register};
use crate::world::{World, world};

const ID: &str = "vmkit-test-1";

/// Asks by the form for 1.1.0. Returns the agent and the request that has reached it.
async fn ask(world: &World) -> (Agent, Value) {
    let agent = Agent::start(&world.gateway, register(ID)).await;
    world.sign_in().await;
    world.open("/instances/vmkit-test-1").await;
    world.click("#upgrade summary").await;
    world.fill("#version", "1.1.0").await;
    world.fill("#download_url", "https://releases.example/vmkit-agent-linux-amd64").await;
    world.fill("#checksum_sha256", &"1".repeat(64)).await;
    world.click("#upgrade form button[type=submit]").await;
    world.wait_for_text("The agent has been asked to upgrade to 1.1.0").await;
    let asked = async || agent.asked("agent_upgrade").await.into_iter().next();
    let request = world.until("the request reaches the agent", asked).await;
    let params = json!({"version": "1.1.0", "checksum_sha256": "1".repeat(64),
                        "download_url": "https://releases.example/vmkit-agent-linux-amd64"});
    assert_eq!(request["params"], params);
    (agent, request)
}

fn progress(request: &Value, bytes: u64) -> Value {
    json!({"jsonrpc": "2.0", "method": "upgrade_progress",
           "params": {"id": request["id"], "stage": "download", "bytes": bytes, "total": 2_097_152}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_shows_its_progress_and_is_done_when_the_new_version_registers() {
    world(async |world| {
        let (agent, request) = ask(world).await;
        agent.send(&progress(&request, 1_048_576));
        world.wait_for_text("1.0 MiB of 2.0 MiB, 50 %").await;
        let bar =
            "const bar = document.querySelector('#upgrade progress'); return bar.value / bar.max";
        assert_eq!(world.eval(bar).await, 0.5);
        agent.answer(&request["id"], json!({"status": "upgrading"}));
        world.wait_for_text("The agent has replaced its binary and restarts.").await;
        agent.lose();
        let mut new = register(ID);
        new["version"] = json!("1.1.0");
        let _agent = Agent::start(&world.gateway, new).await;
        world.wait_for_text("Upgraded to 1.1.0: the new version has registered.").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_is_told_in_words() {
    world(async |world| {
        let (agent, request) = ask(world).await;
        agent.answer(&request["id"], json!({"status": "upgrading"}));
        world.wait_for_text("The agent has replaced its binary and restarts.").await;
        agent.lose();
        let mut old = register(ID);
        old["upgrade"]["rolled_back"] = json!([{"version": "1.1.0", "checksum_sha256": "1".repeat(64),
            "reason": "it ended three times within 12 s", "cause": "crashed", "banned": true,
            "at": "2026-01-01T00:03:00Z"}]);
        let _agent = Agent::start(&world.gateway, old).await;
        world.wait_for_text("The upgrade to 1.1.0 was rolled back").await;
        let text = world.text().await;
        for words in [
            "the new version started and crashed, three times",
            "it ended three times within 12 s",
            "The previous version is running again.",
            "This file is refused",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_why_and_what_to_do() {
    world(async |world| {
        let (agent, request) = ask(world).await;
        let message = "checksum mismatch: nothing was changed, check the release";
        let error = json!({"code": -32011, "message": message});
        agent.send(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
        world.wait_for_text("The upgrade to 1.1.0 has failed: checksum mismatch").await;
        world.wait_for_text("Check the checksum against the release").await;
    })
    .await;
}
