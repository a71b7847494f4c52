//! Arguments, configuration, run. The only place that prints an error and picks the exit status.

#![forbid(unsafe_code)]

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
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use agent::{Agent, Ending};
use config::{Config, UpgradeConfig};
use host::version;
use operator::output::{self, complain};
use operator::{doctor, input, install};
use rustix::process::{Resource, Rlimit, setrlimit};
use wire::dial;

const HELP: &str = "\
vmkit-agent: the control plane's agent on this VM

usage: vmkit-agent [run]     dial the gateway and serve it until SIGTERM
       vmkit-agent install [--token-file FILE | --token-stdin] [--gateway-url URL]
                           [--ca-file FILE] [--no-start] [--dry-run]
                             make this program a service, or bring that up to date; the token
                             may be in VMKIT_AGENT_TOKEN too, and one that is there is kept;
                             --token-stdin asks for it at a terminal and does not show it
       vmkit-agent doctor [--json]
                             say what is wrong here, and the next command to type; changes nothing
       vmkit-agent uninstall [--purge] [--dry-run]
                             remove it again; --purge: the configuration and the state too
       vmkit-agent upgrade --url URL|- --sha256 HEX --version VERSION
                             replace this binary, and go back by itself if that is no good; with
                             - the URL is read from standard input: every user of this machine
                             can read arguments, and a URL may hold a password or a key
       vmkit-agent --version
       vmkit-agent --help

Configured by the environment, or by /etc/vmkit/agent.env where the environment has no token:
  VMKIT_AGENT_TOKEN   the agent token (required); that of the file goes to the file's gateway
                      only, and is read again after a 401 or 403
  VMKIT_GATEWAY_URL   where to dial (wss://gateway.vmkit.dev/api/daemon)
  VMKIT_LOG_LEVEL     error, warn, info, debug or trace (info)
  VMKIT_INSTANCE_ID   this VM's name (cloud-init's id, the machine id, the host name)
  VMKIT_CA_FILE       a PEM file of certificates to trust beside the bundled web roots
  VMKIT_DOCKER_BIN    the docker command line (docker)
  VMKIT_RESTART_CMD   what restarts the service after an upgrade (what the init system needs)
  VMKIT_UPGRADES                on, or off: the gateway can't upgrade this agent (on)
  VMKIT_UPGRADE_PUBKEY          the minisign key that upgrades have to be signed with, or none
                                (the release key of this build, where it has one)
  VMKIT_UPGRADE_PROBATION_SECS  how long a new binary has to be acknowledged (120)
  HTTPS_PROXY, NO_PROXY

exit status: 0 after SIGTERM or SIGINT, 64 for wrong arguments, 78 for a wrong configuration,
             1 for what should not happen, and for a doctor that has found a FAIL
";

/// The exit statuses of sysexits.h.
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    keep_out_of_core_dumps();
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] | ["run"] => run(),
        ["--version" | "-V"] => say(&version::line()),
        ["--help" | "-h"] => say(HELP.trim_end()),
        ["doctor"] => examine(false),
        ["doctor", "--json"] => examine(true),
        // Not for people: the agent asks itself for what must not hold up its loop.
        ["resolve", host] => match dial::print_addresses(host) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => fail(1, &reason),
        },
        ["upgrade", "--supervised"] => match upgrade::supervised() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        ["upgrade", "--clean-up"] => match upgrade::clean_up() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        },
        ["upgrade", ref options @ ..] => upgrade_by_hand(options),
        ["install", ref options @ ..] => done(install::install(options)),
        ["uninstall", ref options @ ..] => done(install::uninstall(options)),
        // The guard of a probation, set by the binary before the new one.
        ["rollback", ref options @ ..] => roll_back(options),
        [unknown, ..] => {
            let known = ["run", "doctor", "--version", "--help"].contains(&unknown);
            // What is no word, and all that follows one, may be a secret.
            let is_word = unknown.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let problem = match known {
                true => format!("too many arguments after {unknown}"),
                false if is_word => format!("unknown argument {unknown}"),
                false => "unknown argument".to_owned(),
            };
            fail(USAGE, &format!("vmkit-agent: {problem}; see vmkit-agent --help"))
        }
    }
}

/// A core dump would hold the token, and every command may read it. Children inherit the limit.
fn keep_out_of_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Everybody may lower a limit: there is nothing that could fail.
    let _ = setrlimit(Resource::Core, none);
}

fn run() -> ExitCode {
    let config = match Config::load() {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &format!("vmkit-agent: {error}")),
    };
    logging::start(config.log_level);
    logging::hide(&config.token);
    // The last words go where all others went.
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

fn examine(json: bool) -> ExitCode {
    match doctor::run(json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(1, &format!("vmkit-agent: {error}")),
    }
}

fn upgrade_by_hand(options: &[&str]) -> ExitCode {
    const USAGE_LINE: &str = "vmkit-agent upgrade --url URL|- --sha256 HEX --version VERSION";
    let Some([url, checksum, version]) = take(options, ["--url", "--sha256", "--version"]) else {
        return fail(USAGE, &format!("usage: {USAGE_LINE}"));
    };
    let (Some(url), Some(checksum), Some(version)) = (url, checksum, version) else {
        return fail(USAGE, &format!("all three are needed: {USAGE_LINE}"));
    };
    let is_argument = url != "-";
    let url = match is_argument {
        true => url.to_owned(),
        false => match input::line("URL: ") {
            Ok(line) => line,
            Err(error) => return fail(1, &format!("vmkit-agent: can't read the URL: {error}")),
        },
    };
    let request = match upgrade::Request::check(version, &url, checksum) {
        Ok(request) => request,
        Err(problem) => return fail(USAGE, &format!("vmkit-agent: {problem}")),
    };
    if is_argument && request.url.may_hold_a_secret() {
        complain(
            "vmkit-agent: warning: every user of this machine can read the user or the query of \
             --url in the list of processes; give such a URL by standard input: --url -",
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
        install::Error::Usage(_) => USAGE,
        install::Error::Config(_) => CONFIG,
        install::Error::Failed(_) => 1,
    };
    fail(status, &format!("vmkit-agent: {error}"))
}

fn roll_back(options: &[&str]) -> ExitCode {
    let names = ["--state", "--trial", "--installed", "--after"];
    let Some([Some(state), Some(trial), installed, after]) = take(options, names) else {
        return fail(USAGE, "vmkit-agent: rollback is for the agent's own use");
    };
    let (Ok(checksum), Ok(after)) = (
        upgrade::Checksum::try_from(trial.to_owned()),
        after.map(|seconds| seconds.parse().map(Duration::from_secs)).transpose(),
    ) else {
        return fail(USAGE, "vmkit-agent: rollback: no checksum, or no number of seconds");
    };
    logging::start(log::LevelFilter::Info);
    // Timers of 0.1.0 do not say which file is to be put back.
    let installed = installed.map_or_else(upgrade::installed_from_previous, PathBuf::from);
    let order = upgrade::Order { state: state.into(), checksum, installed, after };
    match upgrade::roll_back_command(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The values of the options `names`; none where anything else is there, or one twice.
fn take<'a, const N: usize>(options: &[&'a str], names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut values = [None; N];
    let (pairs, rest) = options.as_chunks::<2>();
    for [name, value] in pairs {
        let index = names.iter().position(|known| known == name)?;
        if values[index].replace(*value).is_some() {
            return None;
        }
    }
    rest.is_empty().then_some(values)
}

fn say(text: &str) -> ExitCode {
    output::say(text);
    ExitCode::SUCCESS
}

fn fail(status: u8, message: &str) -> ExitCode {
    complain(message);
    ExitCode::from(status)
}
