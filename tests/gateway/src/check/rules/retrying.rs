//! "Refusing and retrying": when the agent dials again, and when not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::super::bench::{Bench, SLACK, answer};
use super::super::fault::{Fault, Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};

pub const CHECKS: &[Check] = checks![
    "A-RETRY-1" in "retry" => without_end,
    "A-RETRY-2" in "long back-off" => a_random_part,
    "A-RETRY-3" in "long reset" => sets_the_limit_back,
    "A-RETRY-4" in "long retry-after" => waits_for_retry_after,
    "A-RETRY-5" in "retry data" => waits_for_its_error,
    "A-RETRY-6" in "long replaced" => leaves_room_for_its_double,
    "A-RETRY-7" in "redirects" => follows_nobody,
    "A-RETRY-8" in "token file" => reads_its_token_again,
];

/// What the token's file holds after the gateway has refused the first.
pub const SECOND_TOKEN: &str = "Bearer vmkit-check-second-token";
/// A clock that is read at the two ends of a connection is not read at the same time.
const EARLY: Duration = Duration::from_millis(30);

/// How a dial or a session ends.
enum Ending {
    Status(&'static str),
    Bytes(&'static [u8]),
    Close(u16),
    Drop,
    Register(Value),
}

async fn end(bench: &mut Bench, ending: &Ending) -> Outcome {
    let mut dial = bench.dial().await?;
    match ending {
        Ending::Status(status) => dial.refuse(status, "").await?,
        Ending::Bytes(bytes) => dial.raw(bytes).await?,
        Ending::Close(code) => {
            let session = bench.accepted(dial).await?;
            bench.still_serves(&session).await?;
            session.close(*code, "kit").await;
            session.ended(Duration::from_secs(3)).await;
            session.drop_connection();
        }
        Ending::Drop => bench.accepted(dial).await?.drop_connection(),
        Ending::Register(result) => {
            let (session, register) = bench.opened(dial).await?;
            answer(&session, &register, result.clone()).await;
            session.ended(Duration::from_secs(3)).await;
        }
    }
    Ok(())
}

async fn without_end(bench: &mut Bench) -> Outcome {
    let endings = [
        ("the status 401", Ending::Status("401 Unauthorized")),
        ("the status 404", Ending::Status("404 Not Found")),
        ("the status 200", Ending::Status("200 OK")),
        ("the status 503", Ending::Status("503 Service Unavailable")),
        ("an answer that is no HTTP", Ending::Bytes(b"\0\x01 nonsense\r\n\r\n")),
        ("no answer", Ending::Bytes(b"")),
        ("close 1000", Ending::Close(1000)),
        ("close 1008", Ending::Close(1008)),
        ("close 4000", Ending::Close(4000)),
        ("close 4999", Ending::Close(4999)),
        ("a lost connection", Ending::Drop),
        ("a register that was refused", Ending::Register(json!({"ok": false}))),
    ];
    for (name, ending) in &endings {
        if bench.agent().is_ok() {
            // With a back-off that begins anew, it has to dial within a second.
            bench.restart().await?;
        }
        end(bench, ending).await?;
        let limit = if bench.agent().is_ok() { bench.by(1.0) } else { bench.by(60.0) };
        match bench.connection(limit).await {
            Ok(_) => {}
            Err(_) => return broken(format!("after {name} it did not dial again")),
        }
    }
    Ok(())
}

/// Refuses some dials; how long the agent waited after each.
async fn refusals(bench: &mut Bench, count: usize) -> Outcome<Vec<Duration>> {
    bench.dial().await?.refuse("500 Internal Server Error", "").await?;
    let mut waits = Vec::new();
    while waits.len() < count {
        let refused = Instant::now();
        let dial = bench.dial_within(bench.by(62.0)).await?;
        waits.push(dial.at.saturating_duration_since(refused));
        dial.refuse("500 Internal Server Error", "").await?;
    }
    Ok(waits)
}

async fn a_random_part(bench: &mut Bench) -> Outcome {
    if bench.agent().is_ok() {
        bench.restart().await?;
    }
    let waits = refusals(bench, 7).await?;
    let limits: Vec<Duration> = (0..7).map(|n| bench.time(f64::from(1 << n).min(60.0))).collect();
    let told = || format!("it waited {waits:.2?}, the limits were {limits:.2?}");
    let is_known = bench.agent().is_ok();
    let over = waits.iter().zip(&limits).any(|(wait, limit)| *wait > *limit + SLACK);
    ensure(!over || !is_known, || format!("longer than the limit: {}", told()))?;
    let all: Duration = waits.iter().sum();
    // The mean is 61 s; by chance it is less than 8 s twice in 10,000 times.
    ensure(all >= bench.time(8.0), || format!("the waits are too short: {}", told()))?;
    let whole = waits.iter().zip(&limits).all(|(wait, limit)| *wait >= limit.mul_f64(0.95));
    ensure(!whole, || format!("no random part, but the whole: {}", told()))
}

async fn sets_the_limit_back(bench: &mut Bench) -> Outcome {
    refusals(bench, 6).await?;
    let dial = bench.dial_within(bench.by(62.0)).await?;
    let session = bench.accepted(dial).await?;
    tokio::time::sleep(bench.time(60.0) + SLACK).await;
    if !session.is_open() {
        return unreached("the session did not last 60 s");
    }
    let ended = Instant::now();
    session.drop_connection();
    match bench.connection(bench.by(1.0)).await {
        Ok(_) => Ok(()),
        Err(_) => broken(format!(
            "{:.1} s after the session it has not dialled",
            ended.elapsed().as_secs_f64()
        )),
    }
}

/// Holds the next dial to a time before which it must not come.
async fn not_before(bench: &mut Bench, from: Instant, least: Duration, after: &str) -> Outcome {
    let connection = bench.connection(least + bench.by(62.0)).await;
    let connection = connection.map_err(|_| Fault::Unreached(format!("no dial after {after}")))?;
    let waited = connection.at.saturating_duration_since(from);
    ensure(waited + EARLY >= least, || {
        format!(
            "it dialled {:.2} s after {after}, not after {:.2} s",
            waited.as_secs_f64(),
            least.as_secs_f64()
        )
    })
}

async fn waits_for_retry_after(bench: &mut Bench) -> Outcome {
    for (status, by_date) in [("503 Service Unavailable", false), ("429 Too Many Requests", true)] {
        let dial = bench.dial().await?;
        let refused = Instant::now();
        let value = match by_date {
            false => "8".to_owned(),
            true => {
                let date = OffsetDateTime::now_utc() + time::Duration::seconds(9);
                // RFC 2822 says "+0000" where HTTP says "GMT".
                let text = date.format(&Rfc2822).unwrap_or_default();
                text.replace("+0000", "GMT")
            }
        };
        dial.refuse(status, &format!("Retry-After: {value}\r\n")).await?;
        // A date has whole seconds.
        let least = bench.time(if by_date { 7.5 } else { 8.0 });
        not_before(bench, refused, least, &format!("{status}, Retry-After: {value}")).await?;
    }
    Ok(())
}

async fn waits_for_its_error(bench: &mut Bench) -> Outcome {
    let (session, register) = bench.unanswered().await?;
    let id = register.id.unwrap_or_default();
    let error = json!({"code": -32000, "message": "kit: later", "data": {"retry_after": 8}});
    let refused = Instant::now();
    session.text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
    not_before(bench, refused, bench.time(8.0), "an error with retry_after 8").await
}

async fn leaves_room_for_its_double(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let closed = Instant::now();
    session.close(4409, "replaced by a newer session").await;
    not_before(bench, closed, bench.time(60.0), "close 4409").await
}

async fn follows_nobody(bench: &mut Bench) -> Outcome {
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).await;
    let elsewhere = elsewhere.map_err(|error| Fault::Kit(format!("no second port: {error}")))?;
    let port = elsewhere.local_addr()?.port();
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let location = format!("Location: ws://127.0.0.1:{port}/other\r\n");
        bench.dial().await?.refuse(status, &location).await?;
        let followed = timeout(bench.time(1.0) + Duration::from_millis(300), elsewhere.accept());
        ensure(followed.await.is_err(), || format!("it follows a {status}"))?;
    }
    Ok(())
}

async fn reads_its_token_again(bench: &mut Bench) -> Outcome {
    let folder = bench.folder().join("credentials");
    let write = |token: &str| {
        let made = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("vmkit-agent-token"), token));
        made.map_err(|error| Fault::Kit(format!("{}: {error}", folder.display())))
    };
    for status in ["401 Unauthorized", "403 Forbidden"] {
        write(bench.shared.token())?;
        let agent = bench.agent()?;
        agent.set("VMKIT_AGENT_TOKEN", None);
        agent.set("CREDENTIALS_DIRECTORY", Some(&folder.display().to_string()));
        bench.restart().await?;
        let dial = bench.dial_within(Duration::from_secs(8)).await?;
        write(SECOND_TOKEN.trim_start_matches("Bearer "))?;
        dial.refuse(status, "").await?;
        let dial = bench.redial().await?;
        let token = dial.request.header("Authorization").to_owned();
        // The scheme is A-CONN-2's.
        let is_second = token.split(' ').next_back() == SECOND_TOKEN.split(' ').next_back();
        ensure(is_second, || format!("after {status} it dials with the old token"))?;
    }
    Ok(())
}
