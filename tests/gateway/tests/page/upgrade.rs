//! The upgrade form: who may send it, what comes back, and what the page tells of the outcome.

use serde_json::json;

use crate::support::{Gateway, eventually, location, register};

const PATH: &str = "/instances/web-1/upgrade";

fn form(version: &str) -> String {
    format!(
        "version={version}&download_url=https%3A%2F%2Freleases.example%2Fagent&checksum_sha256={}",
        "ab".repeat(32)
    )
}

#[tokio::test]
async fn it_takes_the_scope_operate() {
    let gateway = Gateway::start();
    let _agent = gateway.connect(register("web-1")).await;
    let cookie = gateway.sign_in(&gateway.keys.api("read,logs")).await;
    let answer =
        gateway.post(PATH).header("cookie", cookie).body(form("2.0.0")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let answer = gateway.post(PATH).body(form("2.0.0")).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_mistake_is_told_and_what_was_typed_is_kept() {
    let gateway = Gateway::start();
    let _agent = gateway.connect(register("web-1")).await;
    let cookie = gateway.sign_in(&gateway.keys.api("read,operate")).await;
    let body = form("2.0.0").replace("https", "ftp");
    let answer = gateway.post(PATH).header("cookie", cookie).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let text = answer.text().await.unwrap();
    assert!(text.contains("Not upgraded: download_url is no URL of https:"), "{text}");
    assert!(
        text.contains("value=\"2.0.0\"") && text.contains("value=\"ftp://releases.example/agent\"")
    );
}

#[tokio::test]
async fn its_progress_and_its_roll_back_are_told_in_words() {
    let gateway = Gateway::start();
    let mut agent = gateway.connect(register("web-1")).await;
    let cookie = gateway.sign_in(&gateway.keys.api("read,operate")).await;
    let post = || gateway.post(PATH).header("cookie", &cookie).body(form("2.0.0")).send();
    let answer = post().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/instances/web-1#upgrade"));
    assert_eq!(post().await.unwrap().status(), 409, "one at a time");

    let request = agent.asked("agent_upgrade").await;
    assert_eq!(request["params"]["version"], "2.0.0");
    let shows = async |words: &str| {
        eventually(words, async || {
            gateway.page("/instances/web-1?part=live", &cookie).await.contains(words)
        })
        .await;
    };
    let progress =
        json!({"id": request["id"], "stage": "download", "bytes": 1 << 20, "total": 2 << 20});
    agent.tell("upgrade_progress", progress).await;
    shows("1.0 MiB of 2.0 MiB, 50 %").await;
    agent.answer(&request, json!({"status": "upgrading"})).await;
    shows("The agent has replaced its binary and restarts").await;
    let roll_back = json!({"version": "2.0.0", "checksum_sha256": "ab".repeat(32), "cause": "never_started",
                           "reason": "exec format error", "banned": true});
    agent.tell("upgrade_rolled_back", roll_back).await;
    shows("was rolled back: the new version never started.").await;
    shows("exec format error").await;
    shows("The previous version is running again.").await;
}
