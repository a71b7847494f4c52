//! "logs_fetch", plain and with `stream`. What the containers of the stand-in have written is in
//! `docker/logs`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::bench::Bench;
use super::super::docker::stamp_of;
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::frames::LIMIT;
use super::metrics::can;
use super::support::{
    INVALID_PARAMS, NO_CONTAINER, NO_DOCKER, TOO_LONG, expect_code, result, shown, texts,
};

pub const CHECKS: &[Check] = checks![
    "A-LOG-1" in "logs" => wrong_params,
    "A-LOG-2" in "logs" => the_last_lines,
    "A-LOG-3" in "logs" => in_order,
    "A-LOG-4" in "logs" => tells_standard_error_apart,
    "A-LOG-5" in "logs" => clean_texts,
    "A-LOG-6" in "logs" => joins_pieces,
    "A-LOG-7" in "logs" => cuts_a_long_text,
    "A-LOG-8" in "logs" => leaves_out_the_oldest,
    "A-LOG-9" in "long logs" => says_why_not,
    "A-LOG-10" in "logs" => since,
    "A-LOG-11" in "logs" => says_nothing,
    "A-LOG-12" in "streams" => comes_in_chunks,
    "A-LOG-13" in "streams" => small_chunks,
    "A-LOG-14" in "streams" => counts_the_lines,
];

async fn fetch(bench: &mut Bench, params: Value) -> Outcome<(Session, Message)> {
    let session = bench.session().await?;
    let answer = bench.ask(&session, "logs_fetch", params, 30.0).await?;
    Ok((session, answer))
}

/// The lines of a plain result.
async fn lines(bench: &mut Bench, container: &str, count: u32) -> Outcome<(Value, Message)> {
    let (_, answer) = fetch(bench, json!({"container": container, "lines": count})).await?;
    let lines = result(&answer, &format!("logs_fetch of {container}"))?["lines"].clone();
    ensure(lines.is_array(), || format!("no lines: {}", shown(&answer)))?;
    Ok((lines, answer))
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

async fn wrong_params(bench: &mut Bench) -> Outcome {
    let long = "a".repeat(129);
    for name in ["", "-x", ".x", "a/b", "a b", "ä", &long] {
        let (_, answer) = fetch(bench, json!({"container": name})).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("the container {name:?}"))?;
    }
    for lines in [json!(0), json!(-1), json!(1.5), json!("5"), json!([1])] {
        let (_, answer) = fetch(bench, json!({"container": "kit-plain", "lines": lines})).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("the lines {lines}"))?;
    }
    Ok(())
}

async fn the_last_lines(bench: &mut Bench) -> Outcome {
    for (asked, due) in [(Some(7), 7), (None, 100), (Some(5000), 5000), (Some(2_000_000_000), 5000)]
    {
        let mut params = json!({"container": "kit-many"});
        if let Some(asked) = asked {
            params["lines"] = json!(asked);
        }
        let (_, answer) = fetch(bench, params).await?;
        let lines = &result(&answer, "logs_fetch")?["lines"];
        ensure(texts(lines) == numbered(6000 - due..6000), || {
            let texts = texts(lines);
            format!(
                "lines {asked:?}: {due} were due, the last is \"line 5999\"; it came: {} from {:?} to {:?}",
                texts.len(),
                texts.first(),
                texts.last()
            )
        })?;
        let mut all = lines.as_array().into_iter().flatten();
        let is_time = |line: &Value| {
            OffsetDateTime::parse(line["ts"].as_str().unwrap_or_default(), &Rfc3339).is_ok()
        };
        if let Some(odd) = all.find(|line| !is_time(line)) {
            return broken(format!("a line without a time: {odd}"));
        }
    }
    Ok(())
}

/// The numbers of the lines of kit-plain in the order that is due: line 5 of each ten came by standard
/// output with the time of line 4, which came by standard error.
fn merged() -> Vec<usize> {
    (0..60)
        .map(|place| match place % 10 {
            4 => place + 1,
            5 => place - 1,
            _ => place,
        })
        .collect()
}

async fn in_order(bench: &mut Bench) -> Outcome {
    let (lines, _) = lines(bench, "kit-plain", 100).await?;
    let due: Vec<String> = merged().iter().map(|number| format!("line {number}")).collect();
    let texts = texts(&lines);
    let differs = texts.iter().zip(&due).position(|(text, due)| text != due);
    ensure(texts == due, || {
        format!(
            "{} lines, other from line {differs:?} on: {:.200}",
            texts.len(),
            format!("{texts:?}")
        )
    })
}

async fn tells_standard_error_apart(bench: &mut Bench) -> Outcome {
    let (lines, _) = lines(bench, "kit-plain", 100).await?;
    for line in lines.as_array().into_iter().flatten() {
        let text = line["text"].as_str().unwrap_or_default();
        let number: usize = text.trim_start_matches("line ").parse().unwrap_or(0);
        let due = (number % 5 == 4).then(|| json!("stderr"));
        ensure(line.get("from") == due.as_ref(), || format!("from has to be {due:?}: {line}"))?;
    }
    Ok(())
}

async fn clean_texts(bench: &mut Bench) -> Outcome {
    let (lines, _) = lines(bench, "kit-odd", 10).await?;
    let due = ["carriage return", "not \u{fffd}\u{fffd} UTF-8", "right: \u{e4}\u{20ac}"];
    ensure(texts(&lines) == due, || format!("{due:?} were due: {lines}"))
}

async fn joins_pieces(bench: &mut Bench) -> Outcome {
    let (lines, answer) = lines(bench, "kit-long", 10).await?;
    let long: String = (0..40_000).map(|place| char::from(b'a' + (place % 23) as u8)).collect();
    ensure(texts(&lines) == ["before", &long, "after"], || {
        let lengths: Vec<usize> = texts(&lines).iter().map(|text| text.len()).collect();
        format!("lines of 6, 40000 and 5 bytes were due, it came {lengths:?}: {}", shown(&answer))
    })
}

async fn cuts_a_long_text(bench: &mut Bench) -> Outcome {
    let (lines, answer) = lines(bench, "kit-huge", 10).await?;
    let texts = texts(&lines);
    let text = texts.first().copied().unwrap_or_default();
    // Characters of three bytes; a character that was cut in two would be U+FFFD.
    let is_cut = (64 * 1024 - 2..=64 * 1024).contains(&text.len()) && !text.ends_with('\u{fffd}');
    ensure(texts.len() == 1 && is_cut, || {
        format!("64 KiB of whole characters were due, it came {} bytes", text.len())
    })?;
    ensure(result(&answer, "logs_fetch")?["truncated"] == true, || {
        "a text was cut, without \"truncated\": true".to_owned()
    })
}

async fn leaves_out_the_oldest(bench: &mut Bench) -> Outcome {
    let (lines, answer) = lines(bench, "kit-wide", 5000).await?;
    let numbers: Vec<usize> = texts(&lines)
        .iter()
        .filter_map(|text| text.split(' ').nth(1).and_then(|number| number.parse().ok()))
        .collect();
    let first = numbers.first().copied().unwrap_or(300);
    ensure(first > 0 && numbers == (first..300).collect::<Vec<_>>() && numbers.len() > 20, || {
        format!(
            "of the lines 0 to 299 the last were due, it came {:?} to {:?}",
            numbers.first(),
            numbers.last()
        )
    })?;
    ensure(result(&answer, "logs_fetch")?["truncated"] == true, || {
        format!("{first} lines were left out, without \"truncated\": true")
    })
}

async fn says_why_not(bench: &mut Bench) -> Outcome {
    let (session, answer) = fetch(bench, json!({"container": "kit-gone"})).await?;
    expect_code(&answer, NO_CONTAINER, "a container that is not there")?;
    let (_, answer) = fetch(bench, json!({"container": "kit-down"})).await?;
    expect_code(&answer, NO_DOCKER, "a docker that can't be used")?;
    let began = Instant::now();
    let answer = bench.ask(&session, "logs_fetch", json!({"container": "kit-hang"}), 30.0).await?;
    expect_code(&answer, TOO_LONG, "a docker that hangs")?;
    let took = began.elapsed();
    ensure(took + Duration::from_millis(300) >= bench.time(30.0), || {
        format!("it took {:.1} s, not 30", took.as_secs_f64())
    })
}

async fn since(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    if !can(&session, "logs_since") {
        return unreached("it does not list the capability logs_since");
    }
    let params = json!({"container": "kit-many", "lines": 5000, "since": stamp_of(5980)});
    let (_, answer) = fetch(bench, params).await?;
    let lines = &result(&answer, "logs_fetch with since")?["lines"];
    ensure(texts(lines) == numbered(5980..6000), || {
        format!("20 lines are not older, it came {}: {}", texts(lines).len(), shown(&answer))
    })?;
    for since in [json!("yesterday"), json!(""), json!(5), json!("2026-01-01")] {
        let (_, answer) = fetch(bench, json!({"container": "kit-many", "since": since})).await?;
        expect_code(&answer, INVALID_PARAMS, &format!("since {since}"))?;
    }
    Ok(())
}

async fn says_nothing(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let mark = session.mark();
    session.notify("logs_fetch", json!({"container": "kit-plain"})).await;
    session.notify("logs_fetch", json!({"container": "kit-plain", "stream": true})).await;
    session.notify("logs_fetch", json!({"container": "kit-gone"})).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    bench.still_serves(&session).await?;
    let said = session.see(|log| {
        let later = &log.messages[mark..];
        let own = |m: &&Message| !m.id.as_deref().is_some_and(|id| id.starts_with("\"k"));
        later.iter().find(own).map(shown)
    });
    said.map_or(Ok(()), |said| broken(format!("it sends: {said}")))
}

/// The chunks of a streamed answer, and the answer.
async fn stream(bench: &mut Bench, container: &str) -> Outcome<(Vec<Message>, Message)> {
    let session = bench.session().await?;
    let params = json!({"container": container, "lines": 5000, "stream": true});
    let id = session.send_request("logs_fetch", params).await;
    let answer = bench.answer_to(&session, &id, 30.0).await?;
    result(&answer, &format!("a stream of {container}"))?;
    Ok((chunks(&session, &id), answer))
}

/// All `logs_chunk` of the request with this id, which is JSON.
pub fn chunks(session: &Session, id: &str) -> Vec<Message> {
    let id: Value = serde_json::from_str(id).unwrap_or_default();
    session.see(|log| {
        let own = |m: &&Message| m.method() == Some("logs_chunk") && m.params()["id"] == id;
        log.messages.iter().filter(own).cloned().collect()
    })
}

pub fn all_texts(chunks: &[Message]) -> Vec<String> {
    chunks.iter().flat_map(|c| texts(&c.params()["lines"])).map(str::to_owned).collect()
}

async fn comes_in_chunks(bench: &mut Bench) -> Outcome {
    let (chunks, answer) = stream(bench, "kit-wide").await?;
    let numbers: Vec<Option<u64>> = chunks.iter().map(|c| c.params()["seq"].as_u64()).collect();
    let due: Vec<Option<u64>> = (0..chunks.len() as u64).map(Some).collect();
    ensure(numbers == due, || format!("seq is {numbers:?}"))?;
    let texts = all_texts(&chunks);
    let in_order =
        texts.iter().enumerate().all(|(place, text)| text.starts_with(&format!("line {place} ")));
    ensure(texts.len() == 300 && in_order, || {
        format!("of 300 lines came {}, in order: {in_order}", texts.len())
    })?;
    let frames = chunks.iter().map(|chunk| chunk.frame).max().unwrap_or(0);
    ensure(answer.frame > frames, || "a chunk came after the answer".to_owned())
}

async fn small_chunks(bench: &mut Bench) -> Outcome {
    let (chunks, _) = stream(bench, "kit-wide").await?;
    let large = chunks
        .iter()
        .find(|chunk| chunk.bytes.len() > LIMIT / 4 && texts(&chunk.params()["lines"]).len() > 1);
    large.map_or(Ok(()), |chunk| broken(format!("a chunk of {} bytes", chunk.bytes.len())))
}

async fn counts_the_lines(bench: &mut Bench) -> Outcome {
    for (container, is_cut) in [("kit-plain", false), ("kit-huge", true), ("kit-empty", false)] {
        let (chunks, answer) = stream(bench, container).await?;
        let count = all_texts(&chunks).len();
        let found = result(&answer, "a stream")?;
        ensure(found["lines"] == json!([]) && found["streamed"] == count, || {
            format!("{count} lines came: {}", shown(&answer))
        })?;
        ensure((found["truncated"] == true) == is_cut, || {
            format!("a text was cut: {is_cut}: {}", shown(&answer))
        })?;
    }
    Ok(())
}
