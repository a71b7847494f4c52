//! Many follows, and more lines than the gateway reads.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::super::bench::Bench;
use super::super::super::docker;
use super::super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::super::wire::message::Message;
use super::super::super::wire::session::{Habit, Session};
use super::super::logs::{all_texts, chunks};
use super::super::support::{BUSY, UNKNOWN_METHOD, expect_code, shown};
use super::{SOON, begun, cancel, follow, ready};

/// Looks whether one of these requests was refused as one too many.
fn refused(session: &Session, ids: &[String]) -> Option<String> {
    session.see(|log| {
        let own = |m: &&Message| {
            m.code() == Some(BUSY) && m.id.as_ref().is_some_and(|id| ids.contains(id))
        };
        log.messages.iter().find(own).map(shown)
    })
}

pub async fn eight_at_once(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-5").await?;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(follow(&session, "kit-live-5").await);
    }
    let ninth = follow(&session, "kit-live-5").await;
    let answer = bench.answer_to(&session, &ninth, 2.0).await?;
    expect_code(&answer, BUSY, "a ninth follow")?;
    for _ in 0..32 {
        ids.push(session.send_request("logs_fetch", json!({"container": "kit-hang"})).await);
    }
    let one_more = session.send_request("logs_fetch", json!({"container": "kit-hang"})).await;
    let answer = bench.answer_to(&session, &one_more, 2.0).await?;
    expect_code(&answer, BUSY, "a 33rd request beside 8 follows")?;
    if let Some(what) = refused(&session, &ids) {
        return broken(format!("one of 8 follows and 32 requests was refused: {what}"));
    }
    bench.leave();
    Ok(())
}

pub async fn delays_nothing(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-6").await?;
    let id = follow(&session, "kit-live-6").await;
    begun(&session, &id).await?;
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let answer = bench.ask(&session, "kit_unknown", json!({}), 2.0).await?;
        expect_code(&answer, UNKNOWN_METHOD, "an unknown method")?;
        fastest = fastest.min(answer.at.saturating_duration_since(began));
    }
    bench.leave();
    ensure(fastest < Duration::from_millis(800), || {
        format!("while a follow is under way the fastest of three answers took {fastest:.2?}")
    })
}

/// The bytes that the last docker of this bench has written.
fn printed(bench: &Bench) -> u64 {
    let pid = docker::calls(bench.folder()).last().map_or(0, |(pid, _)| *pid);
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let written = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    written.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The number of a line of kit-flood.
fn number(text: &str) -> Option<u64> {
    text.strip_prefix("flood ")?.split(' ').next()?.parse().ok()
}

pub async fn counts_what_it_left_out(bench: &mut Bench) -> Outcome {
    // A new session, so that its first ping is not due while the kit does not read.
    bench.leave();
    let session = ready(bench, "kit-live-7").await?;
    let id = follow(&session, "kit-flood").await;
    let is_chunk = |m: &Message| m.method() == Some("logs_chunk");
    if session.message(0, SOON, is_chunk).await.is_none() {
        return broken("no chunk of the follow came");
    }
    session.set(Habit::Read, false);
    let began = Instant::now();
    // More than all buffers hold; and less than the time that a heartbeat has.
    while printed(bench) < 24_000_000 && began.elapsed() < bench.time(9.0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    session.set(Habit::Read, true);
    let dropped =
        |m: &Message| is_chunk(m) && m.params()["dropped"].as_u64().is_some_and(|n| n > 0);
    session.message(0, Duration::from_secs(12), dropped).await;
    cancel(bench, &session, &id).await?;
    session.response(&id, SOON).await;
    let chunks = chunks(&session, &id);
    bench.leave();
    let (mut next, mut left_out) = (None, 0);
    for (place, chunk) in chunks.iter().enumerate() {
        ensure(chunk.params()["seq"] == place, || {
            format!("chunk {place} has another seq: {}", shown(chunk))
        })?;
        let dropped = chunk.params()["dropped"].as_u64().unwrap_or(0);
        left_out += dropped;
        for (first, text) in all_texts(std::slice::from_ref(chunk)).iter().enumerate() {
            let Some(number) = number(text) else { continue };
            let due = next.map_or(number, |next| if first == 0 { next + dropped } else { next });
            ensure(number == due, || {
                format!(
                    "line {number} came where {due} was due, with \"dropped\": {dropped}: {}",
                    shown(chunk)
                )
            })?;
            next = Some(number + 1);
        }
    }
    match left_out {
        0 => unreached("it left out no line, although the kit did not read for a while"),
        _ => Ok(()),
    }
}
