//! "follow: true". The kit writes what a container prints while it is followed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::bench::Bench;
use super::super::docker;
use super::super::fault::{Fault, Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::{Habit, Session};
use super::logs::{all_texts, chunks};
use super::metrics::can;
use super::support::{BUSY, INVALID_PARAMS, UNKNOWN_METHOD, ask_text, expect_code, result, shown};

pub const CHECKS: &[Check] = checks![
    "A-FOL-1" in "follow" => new_lines_at_once,
    "A-FOL-2" in "long follow" => goes_on,
    "A-FOL-3" in "follow" => says_how_it_ended,
    "A-FOL-4" in "follow load" => eight_at_once,
    "A-FOL-5" in "follow flood" => counts_what_it_left_out,
    "A-FOL-6" in "follow load" => delays_nothing,
    "A-FOL-7" in "follow" => cancels_the_same_bytes,
    "A-FOL-8" in "follow" => wrong_ids,
];

/// For something that is due at once, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

fn print(bench: &Bench, name: &str, text: &str) -> Outcome {
    docker::print_line(bench.folder(), name, false, text)
        .map_err(|error| Fault::Kit(format!("the stand-in for docker: {error}")))
}

/// A session of an agent that follows, and a container of its own with two lines.
async fn ready(bench: &mut Bench, name: &str) -> Outcome<Session> {
    let session = bench.session().await?;
    if !can(&session, "logs_follow") {
        return unreached("it does not list the capability logs_follow");
    }
    if bench.folder().as_os_str().is_empty() {
        return unreached("it needs the stand-in for docker: --fixtures DIR");
    }
    print(bench, name, "first")?;
    print(bench, name, "second")?;
    Ok(session)
}

async fn follow(session: &Session, name: &str) -> String {
    let params = json!({"container": name, "lines": 1, "follow": true});
    session.send_request("logs_fetch", params).await
}

/// Waits until this line has come by a chunk of the follow; when.
async fn line(
    session: &Session,
    id: &str,
    text: &str,
    within: Duration,
) -> Outcome<Option<Instant>> {
    let of: Value = serde_json::from_str(id).unwrap_or_default();
    let holds = |m: &Message| {
        m.method() == Some("logs_chunk")
            && m.params()["id"] == of
            && all_texts(std::slice::from_ref(m)).iter().any(|line| line == text)
    };
    let ended = |m: &Message| m.is_response() && m.id.as_deref() == Some(id);
    match session.message(0, within, |m| holds(m) || ended(m)).await {
        Some(message) if holds(&message) => Ok(Some(message.at)),
        Some(message) => broken(format!("the follow has ended: {}", shown(&message))),
        None => Ok(None),
    }
}

async fn begun(session: &Session, id: &str) -> Outcome {
    match line(session, id, "second", SOON).await? {
        Some(_) => Ok(()),
        None => broken("the last line did not come at once"),
    }
}

async fn cancel(bench: &Bench, session: &Session, id: &str) -> Outcome<Message> {
    ask_text(bench, session, "logs_cancel", &format!(r#"{{"id":{id}}}"#)).await
}

async fn new_lines_at_once(bench: &mut Bench) -> Outcome {
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

async fn goes_on(bench: &mut Bench) -> Outcome {
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

async fn says_how_it_ended(bench: &mut Bench) -> Outcome {
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

/// Looks whether one of these requests was refused as one too many.
fn refused(session: &Session, ids: &[String]) -> Option<String> {
    session.see(|log| {
        let own = |m: &&Message| {
            m.code() == Some(BUSY) && m.id.as_ref().is_some_and(|id| ids.contains(id))
        };
        log.messages.iter().find(own).map(shown)
    })
}

async fn eight_at_once(bench: &mut Bench) -> Outcome {
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

async fn delays_nothing(bench: &mut Bench) -> Outcome {
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

async fn counts_what_it_left_out(bench: &mut Bench) -> Outcome {
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

async fn cancels_the_same_bytes(bench: &mut Bench) -> Outcome {
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

async fn wrong_ids(bench: &mut Bench) -> Outcome {
    let session = ready(bench, "kit-live-9").await?;
    for params in ["{}", r#"{"id":null}"#, r#"{"id":true}"#, r#"{"id":[1]}"#, r#"{"id":{}}"#] {
        let answer = ask_text(bench, &session, "logs_cancel", params).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("logs_cancel with {params}"))?;
    }
    Ok(())
}
