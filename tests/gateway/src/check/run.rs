//! Runs the checks: lanes beside each other, each with an agent of its own; or all with the one agent
//! that somebody else has started.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::agent::Agent;
use super::arguments::Arguments;
use super::bench::{Bench, Shared};
use super::docker;
use super::downloads::Downloads;
use super::fault::{Fault, Outcome};
use super::lanes;
use super::report::Result;
use super::rules;
use super::scratch::Scratch;
use super::table::{Check, Run};
use super::wire::listener::Listener;
use super::wire::trace::Trace;
use crate::net::tls;

/// No check takes so long; the longest wait of the protocol that is checked is a minute.
const LONGEST: Duration = Duration::from_secs(300);

type Lanes = BTreeMap<&'static str, Vec<&'static Check>>;

/// All results, in the order of the page.
pub async fn run(arguments: Arguments) -> std::result::Result<Vec<Result>, String> {
    let downloads =
        Downloads::start().await.map_err(|error| format!("can't listen on loopback: {error}"))?;
    let chosen = chosen(&arguments.only)?;
    let mut lanes = Lanes::new();
    for check in &chosen {
        // What only looks needs something to look at.
        let lane = if let Run::Active(lane, _) = check.run { lane } else { lanes::MAIN };
        lanes.entry(lane).or_default().push(check);
    }
    let shared = Arc::new(Shared { arguments, downloads, sessions: parking_lot::Mutex::default() });
    let mut results = match shared.arguments.command.is_empty() {
        false => beside_each_other(&shared, lanes).await,
        true => one_after_another(&shared, lanes).await?,
    };
    for check in chosen {
        if let Run::Passive(look) = check.run {
            results.push(Result::new(check.id, look(&shared), Vec::new(), Duration::ZERO));
        }
    }
    Ok(results)
}

fn chosen(only: &[String]) -> std::result::Result<Vec<&'static Check>, String> {
    let is_chosen = |check: &&Check, pattern: &str| {
        let rest = check.id.strip_prefix(pattern);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let all = rules::all();
    if let Some(odd) = only.iter().find(|id| !all.iter().any(|check| is_chosen(check, id))) {
        return Err(format!("--only {odd}: no check begins so; see gateway check --list"));
    }
    let chosen = all.into_iter();
    Ok(chosen.filter(|c| only.is_empty() || only.iter().any(|id| is_chosen(c, id))).collect())
}

async fn beside_each_other(shared: &Arc<Shared>, lanes: Lanes) -> Vec<Result> {
    let places = Arc::new(Semaphore::new(shared.arguments.parallel.max(1)));
    let mut running = Vec::new();
    // The lanes that wait for the longest first.
    let mut lanes: Vec<_> = lanes.into_iter().collect();
    lanes.sort_by_key(|(name, _)| (!lanes::is_long(name), *name != lanes::MAIN));
    for (name, checks) in lanes {
        let (shared, places) = (shared.clone(), places.clone());
        running.push(tokio::spawn(async move {
            let _place = places.acquire_owned().await;
            match bench(&shared, name).await {
                Ok(mut bench) => lane(&mut bench, name, checks).await,
                Err(why) => {
                    let failed = checks.into_iter().filter(|c| matches!(c.run, Run::Active(..)));
                    failed
                        .map(|check| {
                            let fault = Err(Fault::Kit(why.clone()));
                            Result::new(check.id, fault, Vec::new(), Duration::ZERO)
                        })
                        .collect()
                }
            }
        }));
    }
    let mut results = Vec::new();
    for lane in running {
        results.extend(lane.await.unwrap_or_default());
    }
    results
}

async fn bench(shared: &Arc<Shared>, lane: &str) -> std::result::Result<Bench, String> {
    let trace = Trace::new();
    let loopback = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind(loopback, trace.clone())
        .await
        .map_err(|error| format!("can't listen on loopback: {error}"))?;
    let scratch = Scratch::new().map_err(|error| format!("no folder of its own: {error}"))?;
    docker::write(scratch.path())
        .map_err(|error| format!("the stand-in for docker can't be written: {error}"))?;
    let agent = Agent::new(scratch, &shared.arguments.command)
        .map_err(|error| format!("the agent can't be copied: {error}"))?;
    agent.set("VMKIT_INSTANCE_ID", Some(&format!("vmkit-check-{}", lane.replace(' ', "-"))));
    lanes::prepare(lane, &agent);
    Ok(Bench::with_agent(shared.clone(), trace, listener, agent))
}

async fn one_after_another(
    shared: &Arc<Shared>,
    lanes: Lanes,
) -> std::result::Result<Vec<Result>, String> {
    let arguments = &shared.arguments;
    let trace = Trace::new();
    let tls = match &arguments.tls {
        Some(path) => {
            let settings = tls::Settings { ca_out: Some(path.clone()), ..Default::default() };
            Some(TlsAcceptor::from(tls::server_config(&settings)?))
        }
        None => None,
    };
    let listener = Listener::bind(arguments.listen, trace.clone())
        .await
        .map_err(|error| format!("can't listen on {}: {error}", arguments.listen))?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let port = listener.address.port();
    eprintln!("waiting for an agent at {scheme}://localhost:{port}{}", super::bench::TARGET);
    let folder = match &arguments.fixtures {
        Some(folder) => {
            let script = docker::write(folder)
                .map_err(|error| format!("writing into {}: {error}", folder.display()))?;
            eprintln!("start the agent with VMKIT_DOCKER_BIN={}", script.display());
            folder.clone()
        }
        None => PathBuf::new(),
    };
    let mut bench = Bench::waiting(shared.clone(), trace, listener, folder, tls);
    let mut results = Vec::new();
    let mut lanes: Vec<_> = lanes.into_iter().collect();
    lanes.sort_by_key(|(name, _)| (lanes::is_long(name), *name != lanes::MAIN));
    for (name, checks) in lanes {
        results.extend(lane(&mut bench, name, checks).await);
    }
    Ok(results)
}

/// Runs the checks of a lane that act, one after another.
async fn lane(bench: &mut Bench, name: &str, checks: Vec<&'static Check>) -> Vec<Result> {
    let mut results = Vec::new();
    if checks.iter().any(|check| matches!(check.run, Run::Passive(_))) {
        // What it can't do shows in the checks that look.
        let _ = rules::warm_up(bench).await;
    }
    for check in checks {
        let Run::Active(_, act) = check.run else { continue };
        let (mark, began) = (bench.trace.mark(), Instant::now());
        let outcome = match lanes::is_possible(name, bench) {
            Err(fault) => Err(fault),
            Ok(()) => outcome(tokio::time::timeout(LONGEST, act(bench))).await,
        };
        if outcome.is_err() {
            // Whatever state it has left behind is no other check's.
            bench.leave();
        }
        let frames = bench.trace.since(mark);
        results.push(Result::new(check.id, outcome, frames, began.elapsed()));
    }
    results
}

async fn outcome(
    running: impl Future<Output = std::result::Result<Outcome, tokio::time::error::Elapsed>>,
) -> Outcome {
    match AssertUnwindSafe(running).catch_unwind().await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Fault::Kit(format!("it did not end within {} s", LONGEST.as_secs()))),
        Err(_) => Err(Fault::Kit("it panicked".to_owned())),
    }
}
