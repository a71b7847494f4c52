//! The reference gateway: the control plane's end of the agent's wire protocol, for the tests and
//! the demo. This file starts it, keeps it up and ends it; each other file has one job:
//!
//! - `arguments` the command line; `net` TCP, TLS, the CA and the certificate
//! - `http` every path, and the token; `agents` an agent's WebSocket and the wire types
//! - `state` the instances; `commands` standard input; `output` the lines on standard output
//!
//! It is a judge, not a second agent: it shares no code with `src/`, and says so (`violation`)
//! when an agent departs from the protocol.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod http;
mod agents;
mod output;
mod state;
mod net;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, Parsed};
use net::serve::Listener;
use net::tls;
use state::Gateway;

fn main() -> ExitCode {
    let outcome = match arguments::parse() {
        Ok(Parsed::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Run(arguments)) => run(arguments),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), String> {
    // First of all: a signal sent while the gateway starts must end it as cleanly as a later one.
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;

    let tls = match &arguments.tls {
        Some(settings) => Some(tls::server_config(settings)?),
        None => None,
    };
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let listener = Listener::bind(arguments.listen, tls).await?;
    let address = listener.address();
    let gateway = Gateway::new(arguments.token, arguments.clocks);
    output::event(
        "listening",
        json!({"address": address.to_string(),
               "url": format!("{scheme}://localhost:{}/api/daemon", address.port())}),
    );

    tokio::select! {
        failed = http::serve(listener, gateway.clone()) =>
            return Err(format!("serving on {address}: {failed}")),
        () = commands::run(gateway.clone()), if arguments.stdin => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }

    // Sessions say 1001 to their agents; one that can't within this time is cut off by the exit.
    let _ = tokio::time::timeout(Duration::from_secs(2), gateway.end()).await;
    Ok(())
}

fn no_signals(error: std::io::Error) -> String {
    format!("can't listen for signals: {error}; raise the limit of open files (ulimit -n)")
}
