//! Starts the gateway, keeps it up and ends it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, timeout};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::access::Access;
use crate::agents::events::{Event, What};
use crate::agents::registry::Registry;
use crate::api;
use crate::arguments::Arguments;
use crate::clock::Moment;
use crate::commands;
use crate::gateway::Gateway;
use crate::net::descriptors;
use crate::net::places::Places;
use crate::net::serve::Listener;
use crate::net::tls;
use crate::output;
use crate::store::Store;

/// Sessions say 1001 to their agents; what can't within this time is cut off by the exit.
const END_PATIENCE: Duration = Duration::from_secs(2);
const HOUSEKEEPING: Duration = Duration::from_secs(60 * 60);
/// An instance that is lost for so long is forgotten; by then its history is empty.
const REMEMBERED: Duration = Duration::from_secs(31 * 24 * 60 * 60);

#[tokio::main]
pub async fn run(arguments: Arguments) -> Result<(), String> {
    // First of all: a signal sent while the gateway starts must end it as cleanly as a later one.
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    log(arguments.log);

    let tls = match &arguments.tls {
        Some(settings) => Some(tls::server_config(settings)?),
        None => None,
    };
    let (ws, http) = if tls.is_some() { ("wss", "https") } else { ("ws", "http") };
    let (store, kept) =
        Store::open(arguments.data.as_deref()).map_err(|error| error.to_string())?;
    let listener = Listener::bind("--listen", arguments.listen, tls).await?;
    let address = listener.address();
    let page = match arguments.page {
        Some(address) => Some(Listener::bind("--page", address, None).await?),
        None => None,
    };
    let page_url = page.as_ref().map(|page| format!("http://{}", page.address()));
    let started = Event { at: Moment::now(), instance: None, what: What::GatewayStarted };
    store.keep(vec![started], None);
    let agents = Registry::new(store.clone(), kept);
    let access = Access::new(store.clone(), arguments.given);
    let gateway = Gateway::new(agents, store.clone(), access, arguments.clocks);
    tokio::spawn(keep_house(gateway.clone()));
    // A start that fails says why in one line, without a warning before it.
    let limits = arguments.limits;
    let connections = descriptors::raise(limits.all);
    let url = format!("{http}://localhost:{}", address.port());
    let _ = gateway.url.set(page_url.clone().unwrap_or_else(|| url.clone()));
    output::event(
        "listening",
        json!({"address": address.to_string(),
               "url": format!("{ws}://localhost:{}/api/daemon", address.port()),
               "api": url, "page": page_url}),
    );
    let router = api::router(gateway.clone(), arguments.hosts);
    let places = Places::new(connections, limits.of_address);
    if let Some(page) = page {
        tokio::spawn(page.serve(router.clone(), places.clone()));
    }

    tokio::select! {
        () = listener.serve(router, places) => {}
        () = commands::run(gateway.clone()), if arguments.stdin => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }

    let _ = timeout(END_PATIENCE, gateway.end()).await;
    store.end();
    output::finish();
    Ok(())
}

fn log(level: Level) {
    // The MCP library logs what clients send and what it answers: the lines of containers too.
    let levels = Targets::new().with_default(level).with_target("rmcp", Level::ERROR);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish()
        .with(levels)
        .init();
}

async fn keep_house(gateway: Arc<Gateway>) {
    for (id, requested_at) in gateway.agents.upgrades_going_on() {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.watch_upgrade(id, requested_at).await });
    }
    let mut due = interval(HOUSEKEEPING);
    loop {
        due.tick().await;
        gateway.agents.forget_lost_for(REMEMBERED);
    }
}

fn no_signals(error: std::io::Error) -> String {
    format!("can't listen for signals: {error}; raise the limit of open files (ulimit -n)")
}
