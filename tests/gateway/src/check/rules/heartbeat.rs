//! "Heartbeat". Most of these checks wait as long as the protocol does.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::bench::{Bench, SLACK};
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
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
    let within = bench.by(3.0 * 30.0);
    session.wait(within, |log| log.pings().get(2).copied()).await;
    let seen = session.see(|log| log.pings());
    let times: Vec<f64> = seen.iter().map(|at| (*at - session.began()).as_secs_f64()).collect();
    let told = || {
        format!("pings came after {times:.2?} s, one is due every {:.2} s", period.as_secs_f64())
    };
    let mut last = session.began();
    for at in &seen {
        ensure(*at - last + early >= period, told)?;
        last = *at;
    }
    ensure(
        seen.len() >= 3 && *seen.first().unwrap_or(&last) <= session.began() + period + SLACK,
        told,
    )
}

async fn ping_after(bench: &Bench, session: &Session, count: usize) -> Outcome<Instant> {
    // A ping that is late is A-BEAT-1's.
    let within = bench.by(90.0);
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

/// The first ping may still find room; the second can't.
async fn drops_a_gateway_that_does_not_read(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.set(Habit::Read, false);
    let limit = bench.by(30.0 + 30.0 + 10.0 + 1.0);
    let (mut last, mut sent) = (Instant::now(), 0);
    while session.began().elapsed() < limit {
        // Enough for every buffer between the two.
        if sent < 4 || last.elapsed() > bench.time(3.0) && sent < 60 {
            let params = json!({"container": "kit-wide", "lines": 5000, "stream": true});
            session.send_request("logs_fetch", params).await;
            (last, sent) = (Instant::now(), sent + 1);
        }
        session.send(whole(frame::PONG), b"something").await;
        let wait = if sent < 4 { Duration::ZERO } else { bench.time(1.0) };
        // It is gone when it dials again.
        if bench.connection(wait).await.is_ok() {
            return Ok(());
        }
    }
    broken(format!(
        "the kit does not read, and {:.1} s after the session began the agent has not dialled again",
        session.began().elapsed().as_secs_f64()
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
