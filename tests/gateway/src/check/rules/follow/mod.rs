//! "follow: true". The kit writes what a container prints while it is followed.

mod life;
mod load;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::bench::Bench;
use super::super::docker;
use super::super::fault::{Fault, Outcome, broken, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::logs::all_texts;
use super::metrics::can;
use super::support::{ask_text, shown};

pub const CHECKS: &[Check] = checks![
    "A-FOL-1" in "follow" => life::new_lines_at_once,
    "A-FOL-2" in "long follow" => life::goes_on,
    "A-FOL-3" in "follow" => life::says_how_it_ended,
    "A-FOL-4" in "follow load" => load::eight_at_once,
    "A-FOL-5" in "follow flood" => load::counts_what_it_left_out,
    "A-FOL-6" in "follow flood" => load::delays_nothing,
    "A-FOL-7" in "follow" => life::cancels_the_same_bytes,
    "A-FOL-8" in "follow" => life::wrong_ids,
    "A-FOL-9" in "follow flood" => life::the_cancel_is_answered_first,
    "A-FOL-10" in "follow" => life::none_without_an_id,
    "A-FOL-11" in "follow load" => load::small_chunks,
    "A-FOL-12" in "follow flood" => load::waits_before_it_leaves_out,
    "A-FOL-13" in "follow flood" => load::keeps_the_pace,
    "A-FOL-14" in "follow" => life::tells_that_docker_failed,
    "A-FOL-15" in "follow" => life::half_a_line,
];

/// For something that is due at once, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

fn print(bench: &Bench, name: &str, text: &str) -> Outcome {
    docker::print_line(bench.folder(), name, false, text)
        .map_err(|error| Fault::Kit(format!("the stand-in for docker: {error}")))
}

/// A session of an agent that follows.
async fn able(bench: &mut Bench) -> Outcome<Session> {
    let session = bench.session().await?;
    if !can(&session, "logs_follow") {
        return unreached("it does not list the capability logs_follow");
    }
    if bench.folder().as_os_str().is_empty() {
        return unreached("it needs the stand-in for docker: --fixtures DIR");
    }
    Ok(session)
}

/// The same, and a container of its own with two lines.
async fn ready(bench: &mut Bench, name: &str) -> Outcome<Session> {
    let session = able(bench).await?;
    print(bench, name, "first")?;
    print(bench, name, "second")?;
    Ok(session)
}

fn end(bench: &Bench, name: &str) -> Outcome {
    docker::end_container(bench.folder(), name)
        .map_err(|error| Fault::Kit(format!("the stand-in for docker: {error}")))
}

async fn follow(session: &Session, name: &str) -> String {
    let params = json!({"container": name, "lines": 1, "follow": true});
    session.send_request("logs_fetch", params).await
}

/// A follow of a container that prints more than may be sent, in a session of its own; its first chunk
/// has come.
async fn flooded(bench: &mut Bench) -> Outcome<(Session, String)> {
    // So that its first ping is not due while the kit does not read.
    bench.leave();
    let session = able(bench).await?;
    let id = follow(&session, "kit-flood").await;
    first_chunk(&session).await?;
    Ok((session, id))
}

async fn first_chunk(session: &Session) -> Outcome {
    match session.message(0, SOON, |m| m.method() == Some("logs_chunk")).await {
        Some(_) => Ok(()),
        None => broken("no chunk of the follow came"),
    }
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
