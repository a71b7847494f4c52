//! "Closing": which code, when, and that nothing comes after it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::super::bench::{Bench, answer};
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::frame::{self, whole};
use super::super::wire::session::{Habit, Session};
use super::frames::{LIMIT, request_of};

pub const CHECKS: &[Check] = checks![
    "A-CLOSE-1" in "closing" => answers_with_the_code,
    "A-CLOSE-2" in "closing" => says_nothing_more,
    "A-CLOSE-3" in "closing" => ends_soon,
    "A-CLOSE-4" in "signals" => goes_away,
    "A-CLOSE-5" in "closing" => on_a_broken_protocol,
    "A-CLOSE-6" in "closing" => on_a_binary_frame,
    "A-CLOSE-7" in "closing" => on_what_is_not_utf8,
    "A-CLOSE-8" in "closing" => on_a_refusal,
    "A-CLOSE-9" in "closing" => on_a_message_too_big,
];

/// For a close frame that is due at once.
const AT_ONCE: Duration = Duration::from_secs(3);
/// The time of A-CLOSE-3, and what two busy processes need.
const END: Duration = Duration::from_millis(1500 + 1000);

async fn expect_close(session: &Session, code: u16, after: &str) -> Outcome {
    let seen = session.closed(AT_ONCE).await;
    ensure(seen == Some(code), || {
        let seen = seen.map_or("no close frame".to_owned(), |code| format!("close {code}"));
        format!("close {code} was due after {after}; it came: {seen}")
    })
}

async fn answers_with_the_code(bench: &mut Bench) -> Outcome {
    for (sent, due) in [(1000, 1000), (1012, 1012), (4000, 4000), (1005, 1002), (999, 1002)] {
        let session = bench.fresh().await?;
        session.close(sent, "kit").await;
        expect_close(&session, due, &format!("close {sent}")).await?;
    }
    Ok(())
}

async fn says_nothing_more(bench: &mut Bench) -> Outcome {
    for by_agent in [false, true] {
        let session = bench.fresh().await?;
        session.send_request("metrics_collect", json!({})).await;
        for _ in 0..3 {
            session.send_request("logs_fetch", json!({"container": "kit-plain"})).await;
        }
        if by_agent {
            session.set(Habit::Close, false);
            session.send(whole(frame::BINARY), b"{}").await;
        } else {
            session.close(1000, "kit").await;
        }
        session.send_request("kit_unknown", json!({})).await;
        session.ended(END + bench.by(1.0)).await;
        let Some((_, _, place)) = session.see(|log| log.close()) else {
            return unreached("it sent no close frame");
        };
        let later = session.see(|log| log.frames[place + 1..].iter().any(|(_, f)| !f.is_control()));
        ensure(!later, || "it sends a message after its close frame".to_owned())?;
    }
    Ok(())
}

async fn ends_soon(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.close(1000, "kit").await;
    let ended = session.ended(END).await;
    ensure(ended.is_some(), || format!("{END:?} after the kit's close frame it is still there"))?;
    let session = bench.fresh().await?;
    session.set(Habit::Close, false);
    session.send(whole(frame::BINARY), b"{}").await;
    if session.closed(AT_ONCE).await.is_none() {
        return unreached("it sends no close frame for a binary frame");
    }
    let ended = session.ended(END).await;
    ensure(ended.is_some(), || format!("{END:?} after its own close frame it is still there"))
}

async fn goes_away(bench: &mut Bench) -> Outcome {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let session = bench.fresh().await?;
        let agent = bench.agent()?;
        agent.let_end();
        agent.signal(signal);
        expect_close(&session, 1001, name).await?;
        let deadline = Instant::now() + Duration::from_secs(12);
        while bench.agent()?.is_running() {
            ensure(Instant::now() < deadline, || format!("{name} does not end it"))?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bench.restart().await?;
    }
    Ok(())
}

async fn on_a_broken_protocol(bench: &mut Bench) -> Outcome {
    let frames: [(&str, Vec<u8>); 7] = [
        ("a reserved bit", frame::encode(whole(frame::TEXT) | 0x40, b"{}")),
        ("an unknown opcode", frame::encode(whole(3), b"{}")),
        ("a ping in fragments", frame::encode(frame::PING, b"")),
        ("a ping of 126 bytes", frame::encode(whole(frame::PING), &[0; 126])),
        ("a continuation of nothing", frame::encode(whole(frame::CONTINUATION), b"{}")),
        (
            "a message within a message",
            [frame::encode(frame::TEXT, b"{"), frame::encode(whole(frame::TEXT), b"{}")].concat(),
        ),
        ("a masked frame", vec![0x81, 0x82, 0, 0, 0, 0, b'{', b'}']),
    ];
    for (name, bytes) in frames {
        let session = bench.fresh().await?;
        session.bytes(&bytes).await;
        expect_close(&session, 1002, name).await?;
    }
    Ok(())
}

async fn on_a_binary_frame(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.send(whole(frame::BINARY), b"{}").await;
    expect_close(&session, 1003, "a binary frame").await
}

async fn on_what_is_not_utf8(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.send(whole(frame::TEXT), b"{\"\xff\xfe\":1}").await;
    expect_close(&session, 1007, "a text that is not UTF-8").await
}

async fn on_a_refusal(bench: &mut Bench) -> Outcome {
    let (session, register) = bench.unanswered().await?;
    answer(&session, &register, json!({"ok": false})).await;
    expect_close(&session, 1008, "a register that was answered {\"ok\": false}").await?;
    let (session, register) = bench.unanswered().await?;
    let id = register.id.unwrap_or_default();
    let error = json!({"code": -32000, "message": "kit: no such workspace"});
    session.text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
    expect_close(&session, 1008, "a register that was answered with an error").await
}

async fn on_a_message_too_big(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.text(&request_of(LIMIT + 1, "\"big\"")).await;
    expect_close(&session, 1009, "a message of 1 MiB and a byte").await?;
    let session = bench.fresh().await?;
    let text = request_of(LIMIT + 1, "\"big\"").into_bytes();
    let (first, second) = text.split_at(LIMIT / 2);
    session.bytes(&frame::encode(frame::TEXT, first)).await;
    session.bytes(&frame::encode(whole(frame::CONTINUATION), second)).await;
    match session.closed(AT_ONCE).await {
        Some(1009) => Ok(()),
        other => {
            broken(format!("close 1009 was due after it came in two fragments, not {other:?}"))
        }
    }
}
