//! `gateway check`: runs every rule of `dist/protocol.md` that binds agents against an agent, and says
//! which of them it keeps. The page is the source: a check has the id of its sentence and nothing more,
//! and tests hold that no sentence is without a check.
//!
//! - `wire/` the kit's own WebSocket server, which sees every bit and can send what no library would
//! - `agent` the agent as a process; `docker/` a stand-in for docker; `downloads` what upgrades load
//! - `bench` what a check works with; `rules/` the checks; `lanes` which agent a check gets
//! - `run` runs them; `report` tells the results; `sentences` reads the page

mod agent;
pub mod arguments;
mod bench;

pub mod docker;
mod downloads;
mod fault;
mod lanes;
mod report;
pub mod rules;
mod run;
mod scratch;
mod table;
pub mod sentences;
mod wire;

use std::process::ExitCode;

use arguments::Parsed;
use tokio::signal::unix::{SignalKind, signal};

/// The whole command; its exit status is that of the results.
#[tokio::main]
pub async fn command(parsed: Parsed) -> Result<ExitCode, String> {
    let arguments = match parsed {
        Parsed::Help => {
            print!("{}", arguments::HELP);
            return Ok(ExitCode::SUCCESS);
        }
        Parsed::List => {
            print!("{}", report::list());
            return Ok(ExitCode::SUCCESS);
        }
        Parsed::Check(arguments) => *arguments,
    };
    let (as_json, junit) = (arguments.json, arguments.junit.clone());
    let token = arguments.token.clone().unwrap_or_default();
    let no_signals = |error| format!("can't listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let running = run::run(arguments);
    let mut results = tokio::select! {
        results = running => results?,
        // The agents and their folders end with the runtime, which holds them.
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(2)),
        _ = terminate.recv() => return Ok(ExitCode::from(2)),
    };
    report::sort(&mut results);
    report::blot_out(&mut results, &token);
    if let Some(path) = junit {
        std::fs::write(&path, report::junit(&results))
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    match as_json {
        true => println!("{}", report::json(&results)),
        false => print!("{}", report::table(&results)),
    }
    Ok(ExitCode::from(report::exit_code(&results)))
}
