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
use super::{SOON, able, begun, cancel, flooded, follow, ready};

/// Bytes of a chunk with more than one line.
const CHUNK: usize = 64 * 1024;
/// Bytes a second: "about 3 MB".
const PACE: f64 = 3.6e6;

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
    for id in &ids {
        begun(&session, id).await?;
    }
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
    let (session, _) = flooded(bench).await?;
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
    let (session, id) = flooded(bench).await?;
    session.set(Habit::Read, false);
    let began = Instant::now();
    // More than all buffers hold; and less than the time that a heartbeat has. Buffers do not fill faster
    // where clocks are short.
    let at_most = bench.time(9.0).max(Duration::from_millis(3400));
    while printed(bench) < 12_000_000 && began.elapsed() < at_most {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    session.set(Habit::Read, true);
    session.message(0, Duration::from_secs(12), |m| dropped(m) > 0).await;
    cancel(bench, &session, &id).await?;
    session.response(&id, SOON).await;
    let chunks = chunks(&session, &id);
    bench.leave();
    match left_out(&chunks)? {
        0 => unreached("it left out no line, although the kit did not read for a while"),
        _ => Ok(()),
    }
}

/// The lines that a chunk says were left out before it.
fn dropped(chunk: &Message) -> u64 {
    chunk.params()["dropped"].as_u64().unwrap_or(0)
}

/// The lines of kit-flood that are missing. Each chunk has to say how many are missing before it.
fn left_out(chunks: &[Message]) -> Outcome<u64> {
    let (mut next, mut left_out) = (None, 0);
    for (place, chunk) in chunks.iter().enumerate() {
        ensure(chunk.params()["seq"] == place, || {
            format!("chunk {place} has another seq: {}", shown(chunk))
        })?;
        let dropped = dropped(chunk);
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
    Ok(left_out)
}

pub async fn small_chunks(bench: &mut Bench) -> Outcome {
    let session = able(bench).await?;
    let params = json!({"container": "kit-quotes", "lines": 300, "follow": true});
    let id = session.send_request("logs_fetch", params).await;
    let is_last = |m: &Message| {
        m.method() == Some("logs_chunk")
            && all_texts(std::slice::from_ref(m)).iter().any(|text| text.starts_with("line 299 "))
    };
    // 6 MB, at the pace of a follow.
    let came = session.message(0, Duration::from_secs(15), is_last).await;
    let chunks = chunks(&session, &id);
    bench.leave();
    ensure(came.is_some(), || format!("of 300 lines came {}", all_texts(&chunks).len()))?;
    let large = chunks.iter().find(|chunk| {
        chunk.bytes.len() > CHUNK && all_texts(std::slice::from_ref(*chunk)).len() > 1
    });
    large.map_or(Ok(()), |chunk| broken(format!("a chunk of {} bytes", chunk.bytes.len())))
}

pub async fn waits_before_it_leaves_out(bench: &mut Bench) -> Outcome {
    let (session, id) = flooded(bench).await?;
    session.set(Habit::Read, false);
    // Half of the time that a gateway has.
    let still = bench.time(1.0).max(Duration::from_millis(400));
    let has_waited = docker_waits(bench, still).await;
    session.set(Habit::Read, true);
    // So that what the agent has left out while the kit did not read has come.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let chunks = chunks(&session, &id);
    bench.leave();
    match (has_waited, left_out(&chunks)?) {
        (true, 0) => Ok(()),
        (false, 0) => unreached("the kit did not read for 3 s, and the agent could still send"),
        (true, count) => broken(format!("{count} lines were left out, within 2 s")),
        (false, count) => {
            broken(format!("{count} lines were left out, and docker never had to wait {still:.1?}"))
        }
    }
}

/// Whether docker prints nothing for so long, which it does while the agent can't send.
async fn docker_waits(bench: &Bench, still: Duration) -> bool {
    let mut last = (printed(bench), Instant::now());
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = printed(bench);
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() >= still {
            return true;
        }
    }
    false
}

pub async fn keeps_the_pace(bench: &mut Bench) -> Outcome {
    let (session, first) = flooded(bench).await?;
    let second = follow(&session, "kit-flood").await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut chunks = [chunks(&session, &first), chunks(&session, &second)].concat();
    let passed = began.elapsed();
    bench.leave();
    chunks.retain(|chunk| chunk.at >= began);
    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    let a_second = bytes as f64 / passed.as_secs_f64();
    ensure(a_second < PACE, || format!("two follows sent {:.1} MB a second", a_second / 1e6))
}
