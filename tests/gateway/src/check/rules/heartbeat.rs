//! "Heartbeat". Most of these checks wait as long as the protocol does.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::bench::{Bench, SLACK};
use super::super::check::{Check, checks};
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::wire::frame::{self, whole};
use super::super::wire::session::{Habit, Session};

pub const CHECKS: &[Check] = checks![
    "A-BEAT-1" in "long beat" => pings,
    "A-BEAT-2" in "long silence" => drops_a_silent_gateway,
    "A-BEAT-3" in "long stuck" => drops_a_gateway_that_does_not_read,
    "A-BEAT-4" in "beat" => answers_pings,
    "A-BEAT-5" in "beat" => answers_pings_at_once,
];

async fn pings(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let (period, early) = (bench.time(30.0), bench.time(1.5));
    let mut last = session.began();
    for count in 1..=2 {
        let seen = session.wait(period + SLACK, |log| log.pings().get(count - 1).copied()).await;
        let Some(at) = seen else {
            return broken(format!(
                "ping {count} did not come {:.1} s after",
                last.elapsed().as_secs_f64()
            ));
        };
        let after = at - last;
        ensure(after + early >= period, || {
            format!(
                "ping {count} came {:.2} s after, not {:.2}",
                after.as_secs_f64(),
                period.as_secs_f64()
            )
        })?;
        last = at;
    }
    Ok(())
}

async fn ping_after(bench: &Bench, session: &Session, count: usize) -> Outcome<Instant> {
    let within = bench.by(30.0);
    match session.wait(within, |log| log.pings().get(count).copied()).await {
        Some(at) => Ok(at),
        None if session.is_open() => unreached("it sent no ping"),
        None => broken("it left the session although frames arrived"),
    }
}

async fn drops_a_silent_gateway(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.set(Habit::Pong, false);
    // A fragment is an answer as good as a pong.
    ping_after(bench, &session, 0).await?;
    tokio::time::sleep(bench.time(5.0)).await;
    session.send(frame::TEXT, b"{\"jsonrpc\":").await;
    let at = ping_after(bench, &session, 1).await?;
    let ended = session.wait(bench.by(10.0), |log| {
        log.close().map(|(_, at, _)| at).or(log.end.as_ref().map(|(at, _)| *at))
    });
    match ended.await {
        Some(_) => Ok(()),
        None => broken(format!(
            "{:.1} s after its ping nothing had arrived, and the session goes on",
            at.elapsed().as_secs_f64()
        )),
    }
}

async fn drops_a_gateway_that_does_not_read(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.set(Habit::Read, false);
    // Enough for every buffer between the two.
    for _ in 0..20 {
        let params = json!({"container": "kit-wide", "lines": 5000, "stream": true});
        session.send_request("logs_fetch", params).await;
    }
    let limit = bench.time(30.0) + bench.time(10.0) + bench.time(1.0) + SLACK;
    let began = session.began();
    while began.elapsed() < limit {
        session.send(whole(frame::PONG), b"something").await;
        // It is gone when it dials again.
        if bench.connection(bench.time(1.0)).await.is_ok() {
            return Ok(());
        }
    }
    broken(format!(
        "{:.1} s after the session began nothing of it could be written, and it has not dialled again",
        began.elapsed().as_secs_f64()
    ))
}

async fn pong(session: &Session, payload: &[u8], within: Duration) -> Option<Vec<u8>> {
    let count = |log: &super::super::wire::session::Log| {
        log.frames.iter().filter(|(_, frame)| frame.opcode == frame::PONG).count()
    };
    let before = session.see(count);
    session.send(whole(frame::PING), payload).await;
    session
        .wait(within, |log| {
            let mut pongs = log.frames.iter().filter(|(_, frame)| frame.opcode == frame::PONG);
            pongs.nth(before).map(|(_, frame)| frame.payload.clone())
        })
        .await
}

async fn answers_pings(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for container in ["kit-hang", "kit-wide", "kit-wide", "kit-wide"] {
        let params =
            json!({"container": container, "lines": 5000, "stream": container != "kit-hang"});
        session.send_request("logs_fetch", params).await;
    }
    for payload in [b"".as_slice(), b"payload", &[0xff; 125]] {
        match pong(&session, payload, bench.by(10.0)).await {
            None => return broken("no pong came while it was busy"),
            Some(answer) => {
                ensure(answer == payload, || format!("the pong has {} other bytes", answer.len()))?
            }
        }
    }
    bench.leave();
    Ok(())
}

async fn answers_pings_at_once(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    let mut fastest = Duration::MAX;
    // The fastest of some: the machine may be busy.
    for _ in 0..4 {
        let began = Instant::now();
        if pong(&session, b"now", bench.by(10.0)).await.is_some() {
            fastest = fastest.min(began.elapsed());
        }
    }
    ensure(fastest < Duration::from_millis(400), || format!("the fastest pong took {fastest:.1?}"))
}
