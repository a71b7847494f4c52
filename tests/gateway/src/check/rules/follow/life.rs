//! How a follow begins, goes on and ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::super::bench::Bench;
use super::super::super::docker;
use super::super::super::fault::{Fault, Outcome, broken, ensure};
use super::super::logs::{all_texts, chunks};
use super::super::support::{INVALID_PARAMS, ask_text, expect_code, result, shown};
use super::{SOON, begun, cancel, follow, line, print, ready};

pub async fn new_lines_at_once(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-1").await?;
    let id = follow(&session, "kit-live-1").await;
    begun(&session, &id).await?;
    let mut fastest = Duration::MAX;
    // The fastest of some: the machine may be busy.
    for number in 0..5 {
        let text = format!("new {number}");
        let printed = Instant::now();
        print(bench, "kit-live-1", &text)?;
        let Some(at) = line(&session, &id, &text, SOON).await? else {
            return broken(format!("a new line did not come within {SOON:?}"));
        };
        fastest = fastest.min(at.saturating_duration_since(printed));
    }
    let first = all_texts(&chunks(&session, &id)).first().cloned();
    ensure(first.as_deref() == Some("second"), || {
        format!("one line was asked for; the first is {first:?}")
    })?;
    bench.leave();
    ensure(fastest < Duration::from_millis(250 + 250), || {
        format!("the fastest of five new lines took {fastest:.2?}")
    })
}

pub async fn goes_on(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-2").await?;
    let id = follow(&session, "kit-live-2").await;
    begun(&session, &id).await?;
    // Longer than any other request may take, and past the next heartbeat.
    tokio::time::sleep(bench.time(50.0)).await;
    print(bench, "kit-live-2", "late")?;
    if line(&session, &id, "late", SOON).await?.is_none() {
        return broken("after 50 s the follow brings nothing any more");
    }
    cancel(bench, &session, &id).await?;
    match session.response(&id, SOON).await {
        Some(_) => Ok(()),
        None => broken("a follow that was cancelled has no end"),
    }
}

pub async fn says_how_it_ended(bench: &mut Bench) -> Outcome {
    for (name, by_container) in [("kit-live-3", true), ("kit-live-4", false)] {
        let session = ready(bench, name).await?;
        let id = follow(&session, name).await;
        begun(&session, &id).await?;
        print(bench, name, "last")?;
        line(&session, &id, "last", SOON).await?;
        if by_container {
            docker::end_container(bench.folder(), name)
                .map_err(|error| Fault::Kit(format!("the stand-in for docker: {error}")))?;
        } else {
            cancel(bench, &session, &id).await?;
        }
        let Some(answer) = session.response(&id, SOON).await else {
            return broken(format!("the follow of {name} was not answered in the end"));
        };
        let due = if by_container { "container" } else { "cancelled" };
        let found = result(&answer, "a follow")?;
        let count = all_texts(&chunks(&session, &id)).len();
        let is_right =
            found["lines"] == json!([]) && found["streamed"] == count && found["ended"] == due;
        ensure(is_right, || format!("{count} lines came, ended by {due}: {}", shown(&answer)))?;
    }
    Ok(())
}

pub async fn cancels_the_same_bytes(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-8").await?;
    let params = json!({"container": "kit-live-8", "lines": 1, "follow": true}).to_string();
    session.request_as("1e2", "logs_fetch", &params).await;
    begun(&session, "1e2").await.or_else(|fault| match fault {
        // The id of a chunk is JSON's value: 100.
        Fault::Broken(_) if !chunks(&session, "1e2").is_empty() => Ok(()),
        fault => Err(fault),
    })?;
    for (id, due) in [
        ("100", false),
        ("\"1e2\"", false),
        ("\"kit-other\"", false),
        ("1e2", true),
        ("1e2", false),
    ] {
        let answer = cancel(bench, &session, id).await?;
        let found = result(&answer, &format!("logs_cancel of {id}"))?;
        ensure(found["cancelled"] == due, || {
            format!("the id of the follow is 1e2; logs_cancel of {id} says: {}", shown(&answer))
        })?;
        if due && session.response("1e2", SOON).await.is_none() {
            return broken("the follow that was cancelled has no end");
        }
    }
    Ok(())
}

pub async fn wrong_ids(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-9").await?;
    for params in ["{}", r#"{"id":null}"#, r#"{"id":true}"#, r#"{"id":[1]}"#, r#"{"id":{}}"#] {
        let answer = ask_text(bench, &session, "logs_cancel", params).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("logs_cancel with {params}"))?;
    }
    Ok(())
}
