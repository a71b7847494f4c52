//! "The connection": what the upgrade request holds, and when no session may begin.

use super::super::bench::{Bench, Shared, TARGET};
use super::super::check::{Check, checks};
use super::super::fault::{Outcome, ensure, unreached};

pub const CHECKS: &[Check] = checks![
    "A-CONN-1" in "main" => opens,
    "A-CONN-2" => carries_the_token,
];

async fn opens(bench: &mut Bench) -> Outcome {
    let dial = bench.dial().await?;
    let request = dial.request.clone();
    ensure(request.head.starts_with("GET "), || "its request is no GET".to_owned())?;
    ensure(request.target() == TARGET, || format!("it asks for {}", request.target()))?;
    let upgrade = request.header("Upgrade").to_ascii_lowercase();
    ensure(upgrade == "websocket", || format!("Upgrade: {upgrade:?}"))?;
    let version = request.header("Sec-WebSocket-Version");
    ensure(version == "13", || format!("Sec-WebSocket-Version: {version:?}"))?;
    bench.accepted(dial).await.map(drop)
}

fn carries_the_token(shared: &Shared) -> Outcome {
    let sessions = shared.sessions.lock();
    if sessions.is_empty() {
        return unreached("there was no session");
    }
    for (session, _) in sessions.iter() {
        let values = session.request().headers("Authorization");
        let right = values.len() == 1 && values[0].starts_with("Bearer vmkit-check-");
        ensure(right || !shared.arguments.command.is_empty(), || {
            format!("Authorization: {values:?}")
        })?;
    }
    Ok(())
}
