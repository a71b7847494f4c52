//! "Messages": JSON-RPC, and what is served beside what.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::bench::Bench;
use super::super::docker;
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::session::Session;
use super::support::{
    BUSY, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, UNKNOWN_METHOD, ask_text, expect_code,
    result, shown,
};

pub const CHECKS: &[Check] = checks![
    "A-RPC-1" in "rpc" => sends_the_id_back,
    "A-RPC-2" in "rpc" => answers_no_notification,
    "A-RPC-3" in "rpc" => not_json,
    "A-RPC-4" in "rpc" => no_request,
    "A-RPC-5" in "rpc" => unknown_method,
    "A-RPC-6" in "rpc" => other_kinds_of_params,
    "A-RPC-7" in "rpc" => wrong_params_start_nothing,
    "A-RPC-8" in "rpc" => ignores_responses,
    "A-RPC-9" in "rpc load" => serves_32,
    "A-RPC-10" in "rpc load" => delays_nothing,
    "A-RPC-11" in "rpc load" => ends_the_work,
];

/// For a message that is due at once.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn sends_the_id_back(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let long = format!("\"{}\"", "i".repeat(16 * 1024 - 2));
    let ids =
        ["1e2", "123456789012345678901234567890", "-0.50", "0", "\"\"", "\"\\u0041\\n\"", &long];
    for id in ids {
        session.request_as(id, "kit_unknown", "{}").await;
        if session.response(id, AT_ONCE).await.is_none() {
            let last = session.see(|log| log.messages.last().map(shown));
            let id: String = id.chars().take(40).collect();
            return broken(format!("no answer under the id {id}; the last message: {last:?}"));
        }
    }
    Ok(())
}

async fn answers_no_notification(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let (mark, calls) = (session.mark(), docker::calls(bench.folder()).len());
    session.notify("kit_unknown", json!({})).await;
    session.notify("logs_fetch", json!({"container": 5})).await;
    session.notify("metrics_collect", json!([1])).await;
    session.notify("metrics_collect", json!({})).await;
    tokio::time::sleep(bench.time(1.0) + Duration::from_millis(500)).await;
    bench.still_serves(&session).await?;
    let answer = session.see(|log| {
        let later = &log.messages[mark..];
        let own = |id: Option<&str>| id.is_some_and(|id| id.starts_with("\"k"));
        later.iter().find(|m| m.is_response() && !own(m.id.as_deref())).map(shown)
    });
    if let Some(answer) = answer {
        return broken(format!("it answers: {answer}"));
    }
    let has_worked = docker::calls(bench.folder()).len() > calls || bench.agent().is_err();
    ensure(has_worked, || "it did not carry out a metrics_collect without an id".to_owned())
}

/// Sends a text; the next response whose id is `null`.
async fn error_without_id(session: &Session, text: &str, code: i64) -> Outcome {
    let mark = session.mark();
    session.text(text).await;
    let text: String = text.chars().take(80).collect();
    let answer = session.message(mark, AT_ONCE, |message| message.is_response()).await;
    let Some(answer) = answer else { return broken(format!("no answer to {text}")) };
    expect_code(&answer, code, &text)?;
    ensure(answer.id.as_deref() == Some("null"), || {
        format!("the id of the answer to {text} is not null: {}", shown(&answer))
    })
}

async fn not_json(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for text in
        ["{", "nope", "", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"kit_unknown\",}", "{} {}"]
    {
        error_without_id(&session, text, PARSE_ERROR).await?;
    }
    bench.still_serves(&session).await
}

async fn no_request(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let long =
        format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"kit_unknown"}}"#, "i".repeat(17 * 1024));
    let texts = [
        "1",
        "\"text\"",
        "null",
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"kit_unknown"}]"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"kit_unknown"}"#,
        r#"{"id":1,"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"kit_unknown"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"kit_unknown","method":"kit_other"}"#,
        &long,
    ];
    for text in texts {
        error_without_id(&session, text, INVALID_REQUEST).await?;
    }
    bench.still_serves(&session).await
}

async fn unknown_method(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for method in ["kit_unknown", "", "METRICS_COLLECT", "register", "health_snapshot"] {
        let answer = ask_text(bench, &session, method, "{}").await?;
        expect_code(&answer, UNKNOWN_METHOD, &format!("the method {method:?}"))?;
    }
    Ok(())
}

async fn other_kinds_of_params(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for params in ["[]", "1", "\"text\"", "true"] {
        for method in ["metrics_collect", "logs_fetch"] {
            let answer = ask_text(bench, &session, method, params).await?;
            expect_code(&answer, INVALID_PARAMS, &format!("{method} with the params {params}"))?;
        }
    }
    let (absent, null) = (session.next_id(), session.next_id());
    session.text(&format!(r#"{{"jsonrpc":"2.0","id":{absent},"method":"metrics_collect"}}"#)).await;
    session.request_as(&null, "metrics_collect", "null").await;
    for (id, what) in [(absent, "no params"), (null, "the params null")] {
        let answer = bench.answer_to(&session, &id, 15.0).await?;
        result(&answer, &format!("metrics_collect with {what}"))?;
    }
    Ok(())
}

async fn wrong_params_start_nothing(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let calls = docker::calls(bench.folder()).len();
    for params in [
        json!({}),
        json!({"lines": 2}),
        json!({"container": 5}),
        json!({"container": null}),
        json!({"container": "kit-plain", "stream": "yes"}),
    ] {
        let answer = bench.ask(&session, "logs_fetch", params.clone(), 2.0).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("logs_fetch with {params}"))?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let later = docker::calls(bench.folder());
    ensure(later.len() == calls, || format!("it ran docker: {:?}", later.last()))
}

async fn ignores_responses(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let mark = session.mark();
    let register = session.see(|log| {
        log.messages
            .iter()
            .find_map(|message| (message.method() == Some("register")).then(|| message.id.clone()))
    });
    let id = register.flatten().unwrap_or("1".to_owned());
    for text in [
        r#"{"jsonrpc":"2.0","id":99999,"result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":"kit","result":null}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"kit"}}"#.to_owned(),
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ok":false}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":1,"message":"kit"}}}}"#),
    ] {
        session.text(&text).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.still_serves(&session).await?;
    let count = session.see(|log| log.messages[mark..].iter().filter(|m| m.is_response()).count());
    ensure(count == 1, || format!("{} answers came to responses", count - 1))
}

fn hang() -> Value {
    json!({"container": "kit-hang"})
}

async fn serves_32(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let mut ids = Vec::new();
    for number in 0..32 {
        if number == 7 {
            session.notify("logs_fetch", hang()).await;
        } else {
            ids.push(session.send_request("logs_fetch", hang()).await);
        }
    }
    let one_more = session.send_request("logs_fetch", hang()).await;
    let answer = bench.answer_to(&session, &one_more, 2.0).await?;
    expect_code(&answer, BUSY, "a 33rd request")?;
    let refused = session.see(|log| {
        let mut all = log.messages.iter();
        all.find(|m| m.code() == Some(BUSY) && m.id.as_ref().is_some_and(|id| ids.contains(id)))
            .map(shown)
    });
    let why =
        || format!("one of the first 32 was refused: {}", refused.clone().unwrap_or_default());
    ensure(refused.is_none(), why)?;
    bench.leave();
    Ok(())
}

async fn delays_nothing(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let slow = session.send_request("logs_fetch", hang()).await;
    let began = Instant::now();
    let quick = bench.ask(&session, "kit_unknown", json!({}), 0.0);
    let is_early = |at: Instant, limit| at.saturating_duration_since(began) < limit;
    let answer = quick.await?;
    // The slow one has 30 s, so each of these is long before its end, however busy the machine.
    let limit = bench.time(20.0);
    ensure(is_early(answer.at, limit), || "an unknown method waits for a slow request".to_owned())?;
    let began_logs = session.send_request("logs_fetch", json!({"container": "kit-plain"})).await;
    let answer = bench.answer_to(&session, &began_logs, 0.0).await?;
    ensure(is_early(answer.at, bench.time(28.0)), || "logs_fetch waits for another".to_owned())?;
    let is_done = session
        .see(|log| log.messages.iter().any(|m| m.is_response() && m.id.as_ref() == Some(&slow)));
    ensure(!is_done, || "the slow request was answered first".to_owned())?;
    bench.leave();
    Ok(())
}

async fn ends_the_work(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    if bench.agent().is_err() && bench.folder().as_os_str().is_empty() {
        return unreached("without the stand-in for docker (--fixtures) its work can't be seen");
    }
    let before = docker::calls(bench.folder()).len();
    let began = Instant::now();
    session.request_as("\"of the first session\"", "logs_fetch", &hang().to_string()).await;
    let mut pid = None;
    while pid.is_none() && began.elapsed() < AT_ONCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
        pid = docker::calls(bench.folder()).get(before).map(|(pid, _)| *pid);
    }
    let Some(pid) = pid else { return unreached("it ran no docker for logs_fetch") };
    session.drop_connection();
    // Sooner than its time limit would end it.
    let limit = bench.time(26.0).min(Duration::from_secs(3));
    let is_there = || std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
    while is_there() {
        ensure(began.elapsed() < limit, || format!("docker's process {pid} still runs"))?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let dial = bench.redial().await?;
    let session = bench.accepted(dial).await?;
    let late = session.response("\"of the first session\"", Duration::from_millis(700)).await;
    ensure(late.is_none(), || "it answers in the next session".to_owned())
}
