//! How a follow begins, goes on and ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::super::bench::Bench;
use super::super::super::docker;
use super::super::super::fault::{Outcome, broken, ensure};
use super::super::super::wire::message::Message;
use super::super::super::wire::session::Session;
use super::super::logs::{all_texts, chunks};
use super::super::support::{INVALID_PARAMS, NO_DOCKER, ask_text, expect_code, result, shown};
use super::{SOON, able, begun, cancel, end, first_chunk, flooded, follow, line, print, ready};

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
            end(bench, name)?;
        } else {
            cancel(bench, &session, &id).await?;
        }
        has_ended(&session, &id, if by_container { "container" } else { "cancelled" }, false)
            .await?;
    }
    let session = bench.fresh().await?;
    let id = follow(&session, "kit-huge").await;
    first_chunk(&session).await?;
    cancel(bench, &session, &id).await?;
    has_ended(&session, &id, "cancelled", true).await
}

async fn has_ended(session: &Session, id: &str, how: &str, is_cut: bool) -> Outcome {
    let Some(answer) = session.response(id, SOON).await else {
        return broken(format!("a follow was not answered in the end; due was {how}"));
    };
    let found = result(&answer, "a follow")?;
    let count = all_texts(&chunks(session, id)).len();
    let is_right =
        found["lines"] == json!([]) && found["streamed"] == count && found["ended"] == how;
    ensure(is_right, || format!("{count} lines came, ended by {how}: {}", shown(&answer)))?;
    ensure((found["truncated"] == true) == is_cut, || {
        format!("a text was cut: {is_cut}: {}", shown(&answer))
    })
}

pub async fn cancels_the_same_bytes(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-8").await?;
    let params = json!({"container": "kit-live-8", "lines": 1, "follow": true}).to_string();
    session.request_as("1e2", "logs_fetch", &params).await;
    begun(&session, "1e2").await?;
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
    let (escaped, plain) = (r#""kit-\u00e4""#, "\"kit-\u{e4}\"");
    session.request_as(escaped, "logs_fetch", &params).await;
    let answer = cancel(bench, &session, plain).await?;
    ensure(result(&answer, "logs_cancel")?["cancelled"] == true, || {
        format!(
            "the id of the follow is {escaped}; logs_cancel of {plain} says: {}",
            shown(&answer)
        )
    })?;
    if session.response(escaped, SOON).await.is_none() {
        return broken(format!("the follow {escaped}, cancelled as {plain}, has no end"));
    }
    cancels_no_other(bench, &session).await
}

/// A request that is no follow, and the follow of another session.
async fn cancels_no_other(bench: &mut Bench, session: &Session) -> Outcome {
    let hanging = session.send_request("logs_fetch", json!({"container": "kit-hang"})).await;
    let of_before = follow(session, "kit-live-8").await;
    begun(session, &of_before).await?;
    let answer = cancel(bench, session, &hanging).await?;
    ensure(result(&answer, "logs_cancel")?["cancelled"] == false, || {
        format!("{hanging} is no follow; its logs_cancel says: {}", shown(&answer))
    })?;
    bench.leave();
    let session = bench.fresh().await?;
    let answer = cancel(bench, &session, &of_before).await?;
    ensure(result(&answer, "logs_cancel")?["cancelled"] == false, || {
        format!("{of_before} was a follow of another session; {}", shown(&answer))
    })
}

pub async fn wrong_ids(bench: &mut Bench) -> Outcome {
    let session = able(bench).await?;
    for params in ["{}", r#"{"id":null}"#, r#"{"id":true}"#, r#"{"id":[1]}"#, r#"{"id":{}}"#] {
        let answer = ask_text(bench, &session, "logs_cancel", params).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("logs_cancel with {params}"))?;
    }
    Ok(())
}

/// With a container that prints all the time: lines wait whenever its follow is cancelled.
pub async fn the_cancel_is_answered_first(bench: &mut Bench) -> Outcome {
    let (session, id) = flooded(bench).await?;
    let answer = cancel(bench, &session, &id).await?;
    let Some(end) = session.response(&id, SOON).await else {
        return broken("the follow that was cancelled has no end");
    };
    ensure(answer.frame < end.frame, || {
        format!("the answer of the follow came first: {}", shown(&end))
    })?;
    bench.still_serves(&session).await?;
    let late = chunks(&session, &id).into_iter().find(|chunk| chunk.frame > answer.frame);
    bench.leave();
    match late {
        Some(chunk) => broken(format!("a chunk came after the cancel: {}", shown(&chunk))),
        None => Ok(()),
    }
}

pub async fn none_without_an_id(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-11").await?;
    let (before, mark) = (docker::calls(bench.folder()).len(), session.mark());
    session
        .notify("logs_fetch", json!({"container": "kit-live-11", "lines": 1, "follow": true}))
        .await;
    bench.still_serves(&session).await?;
    let is_chunk = |m: &Message| m.method() == Some("logs_chunk");
    if let Some(chunk) = session.message(mark, Duration::from_millis(700), is_chunk).await {
        return broken(format!("the notification brought a chunk: {}", shown(&chunk)));
    }
    let calls = docker::calls(bench.folder()).into_iter().skip(before);
    let is_flag = |word: &str| word.starts_with('-') && !word.starts_with("--");
    let follows = |word: &str| word.starts_with("--follow") || is_flag(word) && word.contains('f');
    let is_follow = |words: &str| words.split(' ').any(follows);
    match calls.map(|(_, words)| words).find(|words| is_follow(words)) {
        Some(words) => broken(format!("the notification started docker {words}")),
        None => Ok(()),
    }
}

pub async fn tells_that_docker_failed(bench: &mut Bench) -> Outcome {
    let session = able(bench).await?;
    let id = follow(&session, "kit-fails").await;
    let Some(answer) = session.response(&id, SOON).await else {
        return broken("docker has failed, and the follow goes on");
    };
    expect_code(&answer, NO_DOCKER, "a follow whose docker has lost its daemon")?;
    let mut before = chunks(&session, &id);
    before.retain(|chunk| chunk.frame < answer.frame);
    ensure(all_texts(&before) == ["line 1"], || {
        format!("before the error came {:?}; docker had printed \"line 1\"", all_texts(&before))
    })
}

pub async fn half_a_line(bench: &mut Bench) -> Outcome {
    let session = able(bench).await?;
    let id = follow(&session, "kit-halves").await;
    if line(&session, &id, &docker::half(), SOON).await?.is_none() {
        return broken(format!("docker pauses after 32 KiB of a line; in {SOON:?} nothing came"));
    }
    end(bench, "kit-halves")?;
    match line(&session, &id, "rest", SOON).await? {
        Some(_) => Ok(()),
        None => broken("the rest of the line did not come as a line"),
    }
}
