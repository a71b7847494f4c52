//! Picks the command to run and the exit status.

#![forbid(unsafe_code)]
// Not as [lints] in Cargo.toml, which would hold for the tests and the examples too. Tried and left
// out: arithmetic_side_effects (157 findings) and indexing_slicing (57). Nearly all add a constant to
// a time or a counter, or cut a slice at a length that was checked or returned just before.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cli;
mod operator;
mod agent;
mod requests;
mod upgrade;
mod wire;
mod docker;
mod config;
mod logging;
mod host;
mod run;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use agent::{Agent, Ending};
use cli::Command as Cli;
use config::{Config, UpgradeConfig};
use host::version;
use operator::output::{self, complain};
use operator::{doctor, input, install};
use rustix::process::{Resource, Rlimit, setrlimit};
use wire::dial;

/// The exit statuses of sysexits.h.
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    keep_out_of_core_dumps();
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(problem) => return fail(USAGE, &format!("vmkit-agent: {problem}")),
    };
    match command {
        Cli::Run => run(),
        Cli::Version => say(&version::line()),
        Cli::Help(text) => say(text.trim_end()),
        Cli::Doctor { json } => match doctor::run(json) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(1, &format!("vmkit-agent: {error}")),
        },
        Cli::Install(options) => done(install::install(&options)),
        Cli::Uninstall(options) => done(install::uninstall(&options)),
        Cli::Upgrade(options) => upgrade_by_hand(options),
        Cli::Resolve(host) => match dial::print_addresses(&host) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => fail(1, &reason),
        },
        Cli::UpgradeSupervised => match upgrade::supervised() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        Cli::UpgradeCleanUp => match upgrade::clean_up() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        },
        Cli::RollBack(order) => roll_back(order),
    }
}

/// Forbids core dumps: a core dump of any command could hold the token. Children inherit the limit.
fn keep_out_of_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Any process may lower its limits, so this does not fail.
    let _ = setrlimit(Resource::Core, none);
}

fn run() -> ExitCode {
    let config = match Config::load() {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &format!("vmkit-agent: {error}")),
    };
    logging::start(config.log_level);
    logging::hide(&config.token);
    // A panic is logged where everything else was.
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    match Agent::new(config).and_then(Agent::run) {
        Ok(Ending::Stopped) => ExitCode::SUCCESS,
        Ok(Ending::Succeeded(program)) => {
            let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            log::error!("can't run {}: {error}", program.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            log::error!("giving up: {error}");
            fail(1, &format!("vmkit-agent: {error}"))
        }
    }
}

fn upgrade_by_hand(options: cli::Upgrade) -> ExitCode {
    let cli::Upgrade { url, checksum, version } = options;
    let is_argument = url != "-";
    let url = match is_argument {
        true => url,
        false => match input::line("URL: ") {
            Ok(line) => line,
            Err(error) => return fail(1, &format!("vmkit-agent: can't read the URL: {error}")),
        },
    };
    let request = match upgrade::Request::check(&version, &url, &checksum) {
        Ok(request) => request,
        Err(problem) => return fail(USAGE, &format!("vmkit-agent: {problem}")),
    };
    if is_argument && request.url.may_hold_a_secret() {
        complain(
            "vmkit-agent: warning: all users of this machine can read the password or the query of \
             --url in the process list; give such a URL by standard input: --url -",
        );
    }
    let config = match UpgradeConfig::load() {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &format!("vmkit-agent: {error}")),
    };
    match upgrade::by_hand(&request, &config) {
        Ok(text) => say(&text),
        Err(error) => fail(1, &format!("vmkit-agent: {error}")),
    }
}

fn done(outcome: Result<(), install::Error>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let status = match error {
        install::Error::Config(_) => CONFIG,
        install::Error::Failed(_) => 1,
    };
    fail(status, &format!("vmkit-agent: {error}"))
}

fn roll_back(order: cli::RollBack) -> ExitCode {
    let cli::RollBack { state, checksum, installed, after } = order;
    logging::start(log::LevelFilter::Info);
    // Timers of 0.1.0 do not say which file is to be put back.
    let installed = installed.unwrap_or_else(upgrade::installed_from_previous);
    match upgrade::roll_back_command(&upgrade::Order { state, checksum, installed, after }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> ExitCode {
    output::say(text);
    ExitCode::SUCCESS
}

fn fail(status: u8, message: &str) -> ExitCode {
    complain(&format!("{}{message}", logging::error_mark()));
    ExitCode::from(status)
}
