//! "How this protocol grows".

use serde_json::json;

use super::super::bench::{Bench, answer};
use super::super::fault::{Outcome, broken};
use super::super::table::{Check, checks};
use super::support::{UNKNOWN_METHOD, expect_code, result};

pub const CHECKS: &[Check] = checks!["A-GROW-1" in "dials" => ignores_the_unknown];

async fn ignores_the_unknown(bench: &mut Bench) -> Outcome {
    let (session, register) = bench.unanswered().await?;
    answer(&session, &register, json!({"ok": true, "kit": {"new": [1]}})).await;
    if bench.still_serves(&session).await.is_err() {
        return broken("it does not take {\"ok\": true} with an unknown member");
    }
    let text = r#"{"jsonrpc":"2.0","id":"g","method":"kit_unknown","kit":{"new":[1]},"params":{}}"#;
    session.text(text).await;
    let answer = bench.answer_to(&session, "\"g\"", 2.0).await?;
    expect_code(&answer, UNKNOWN_METHOD, "a message with an unknown member")?;
    let params = json!({"container": "kit-plain", "lines": 1, "kit": {"new": [1]}});
    let answer = bench.ask(&session, "logs_fetch", params, 5.0).await?;
    result(&answer, "logs_fetch with an unknown member")?;
    let answer = bench.ask(&session, "metrics_collect", json!({"kit": 1}), 15.0).await?;
    result(&answer, "metrics_collect with an unknown member").map(drop)
}
