//! "Frames and sizes".

use serde_json::json;

use super::super::bench::{Bench, Shared};
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::frame::{self, Frame, whole};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::support::{UNKNOWN_METHOD, expect_code, shown};

pub const CHECKS: &[Check] = checks![
    "A-FRAME-1" => one_object_a_message,
    "A-FRAME-2" => one_newline_at_the_end,
    "A-FRAME-3" in "frames" => not_over_the_limit,
    "A-FRAME-4" in "frames" => in_fragments,
    "A-FRAME-5" in "frames" => takes_large_messages,
    "A-FRAME-6" => a_clients_frame,
];

/// 1 MiB.
pub const LIMIT: usize = 1024 * 1024;
const FRAGMENT: usize = 64 * 1024;

/// Holds every message of every session to something.
pub fn messages(shared: &Shared, look: impl Fn(&Message) -> Outcome) -> Outcome {
    let sessions = shared.sessions.lock();
    if sessions.iter().all(|session| session.mark() == 0) {
        return unreached("there was no message");
    }
    let each = |session: &Session| session.see(|log| log.messages.iter().try_for_each(&look));
    sessions.iter().try_for_each(each)
}

fn all_frames(shared: &Shared, look: impl Fn(&Frame) -> Outcome) -> Outcome {
    let sessions = shared.sessions.lock();
    let each = |session: &Session| {
        session.see(|log| log.frames.iter().try_for_each(|(_, frame)| look(frame)))
    };
    sessions.iter().try_for_each(each)
}

fn one_object_a_message(shared: &Shared) -> Outcome {
    messages(shared, |message| {
        let is_object = message.value["jsonrpc"] == "2.0";
        ensure(is_object, || format!("no JSON-RPC 2.0 object: {}", shown(message)))
    })?;
    all_frames(shared, |frame| {
        ensure(frame.opcode != frame::BINARY, || "it sends a binary frame".to_owned())
    })
}

fn one_newline_at_the_end(shared: &Shared) -> Outcome {
    messages(shared, |message| {
        let newlines = message.bytes.iter().filter(|byte| **byte == b'\n').count();
        ensure(newlines == 1 && message.bytes.ends_with(b"\n"), || {
            let end = message.bytes.last().map_or("nothing".to_owned(), |b| format!("{b:#04x}"));
            format!("{newlines} newlines, and it ends in {end}: {}", shown(message))
        })
    })
}

async fn not_over_the_limit(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    // 3 MB of text that takes 6 MB in JSON.
    for container in ["kit-quotes", "kit-wide"] {
        let params = json!({"container": container, "lines": 5000});
        bench.ask(&session, "logs_fetch", params, 30.0).await?;
    }
    let longest = session.see(|log| log.messages.iter().map(|m| m.bytes.len()).max());
    let longest = longest.unwrap_or(0);
    ensure(longest <= LIMIT, || format!("a message of {longest} bytes"))
}

async fn in_fragments(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let params = json!({"container": "kit-wide", "lines": 100});
    let answer = bench.ask(&session, "logs_fetch", params, 30.0).await?;
    if answer.bytes.len() <= FRAGMENT {
        return unreached(format!("no message was over 64 KiB: {}", shown(&answer)));
    }
    let longest = session.see(|log| {
        let data = log.frames.iter().filter(|(_, frame)| !frame.is_control());
        data.map(|(_, frame)| frame.length).max().unwrap_or(0)
    });
    ensure(longest <= FRAGMENT, || format!("a frame of {longest} bytes"))
}

/// A request that is a message of exactly this length.
pub fn request_of(length: usize, id: &str) -> String {
    let padded = |padding: &str| {
        let params = json!({"padding": padding});
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"kit_unknown","params":{params}}}"#)
    };
    let padding = "p".repeat(length.saturating_sub(padded("").len()));
    padded(&padding)
}

async fn takes_large_messages(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let id = session.next_id();
    session.text(&request_of(LIMIT, &id)).await;
    let answer = bench.answer_to(&session, &id, 5.0).await?;
    expect_code(&answer, UNKNOWN_METHOD, "a message of 1 MiB")?;
    for (length, pieces) in [(300, 1), (LIMIT, 1000), (LIMIT, 400_000)] {
        let id = session.next_id();
        in_pieces(&session, request_of(length, &id).as_bytes(), pieces).await;
        let answer = bench.answer_to(&session, &id, 5.0).await?;
        expect_code(&answer, UNKNOWN_METHOD, &format!("{length} bytes in fragments of {pieces}"))?;
    }
    Ok(())
}

/// Sends a text in fragments, with a ping and an empty fragment between them.
async fn in_pieces(session: &Session, text: &[u8], piece: usize) {
    let count = text.len().div_ceil(piece);
    let mut bytes = Vec::new();
    for (place, piece) in text.chunks(piece).enumerate() {
        let opcode = if place == 0 { frame::TEXT } else { frame::CONTINUATION };
        let fin = if place + 1 == count { 0x80 } else { 0 };
        bytes.extend(frame::encode(fin | opcode, piece));
        if place == 0 && count > 1 {
            bytes.extend(frame::encode(whole(frame::PING), b"between"));
            bytes.extend(frame::encode(frame::CONTINUATION, b""));
        }
    }
    session.bytes(&bytes).await;
}

fn a_clients_frame(shared: &Shared) -> Outcome {
    all_frames(shared, |frame| {
        let what = || {
            let Frame { masked, reserved, shortest, opcode, payload, .. } = frame;
            let text = String::from_utf8_lossy(&payload[..payload.len().min(80)]);
            format!(
                "opcode {opcode}, masked: {masked}, reserved bits: {reserved:03b}, shortest length: \
                 {shortest}: {text}"
            )
        };
        ensure(frame.masked && frame.reserved == 0 && frame.shortest, what)
    })?;
    // Control frames are whole and short; a message begins with its kind and goes on without it.
    let sessions = shared.sessions.lock();
    for session in sessions.iter() {
        session.see(|log| {
            let mut open = false;
            for (_, frame) in &log.frames {
                let is_right = match frame.opcode {
                    frame::CONTINUATION => open,
                    frame::TEXT | frame::BINARY => !open,
                    frame::CLOSE | frame::PING | frame::PONG => frame.fin && frame.length <= 125,
                    _ => false,
                };
                if !is_right {
                    return broken(format!("a frame of opcode {} is out of place", frame.opcode));
                }
                if !frame.is_control() {
                    open = !frame.fin;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
