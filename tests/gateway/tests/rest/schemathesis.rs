//! schemathesis against the gateway's own description, `/api/openapi.json`: it tries what the description
//! allows and what it forbids, and holds every answer against it. An agent plays along.

use std::process::Command;

use serde_json::{Value, json};
use vmkit_test_support::venv;

use crate::support::agent::{Request, register, snapshot};
use crate::support::{Agent, Gateway};

/// For each operation; so many that all of it takes about a minute.
const CASES: &str = "60";

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_nothing() {
    let gateway = Gateway::start(&[]).await;
    let mut said = register("web-1");
    said["labels"]["vmkit.deploy"] = json!("shop");
    said["labels"]["vmkit.container"] = json!("web");
    let mut agent = Agent::start_as(&gateway, said).await;
    agent.snapshot(50.0);
    let python = venv(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/requirements.txt"));
    let mut run = Command::new(python.join("bin/schemathesis"));
    run.args(["run", &format!("{}/api/openapi.json", gateway.api)])
        .args(["--checks", "all", "--max-examples", CASES, "--request-timeout", "10"])
        .args(["--continue-on-failure", "--seed", "9457", "--no-color"])
        .args(["--header", &format!("Authorization:Bearer {}", gateway.key)])
        .current_dir(gateway.folder().path());
    let run = tokio::task::spawn_blocking(move || run.output().expect("schemathesis runs"));
    tokio::pin!(run);
    let output = loop {
        tokio::select! {
            output = &mut run => break output.expect("nothing panics"),
            request = agent.next() => play_along(&agent, request),
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let closing = said.rfind("= SUMMARY =").unwrap_or(0);
    println!("{}", &said[closing..]);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Each upgrade fails, so that the next may be asked for, and each follow ends.
fn play_along(agent: &Agent, request: Request) {
    let params = &request.params;
    match request.method.as_str() {
        "metrics_collect" => agent.answer(&request, snapshot(50.0)),
        "agent_upgrade" => agent.refuse(&request, -32010, "no such file"),
        "logs_fetch" if params["follow"] == true => {
            let chunk = json!({"id": request.id, "seq": 0, "lines": lines()});
            agent.notify("logs_chunk", chunk);
            agent.answer(&request, json!({"lines": [], "streamed": 1, "ended": "container"}));
        }
        "logs_fetch" => agent.answer(&request, json!({"lines": lines()})),
        "logs_cancel" => agent.answer(&request, json!({"cancelled": false})),
        method => panic!("the gateway asks for {method}"),
    }
}

fn lines() -> Value {
    json!([{"ts": "2026-01-01T00:01:00.000000001Z", "text": "hello"}])
}
