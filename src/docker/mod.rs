//! The docker command line: arguments out, output in, errors told apart.
//!
//! Starts nothing and reads nothing; whoever runs docker brings its output here. Docker's wording
//! changes between versions and podman has its own, so messages are matched loosely, and what can't
//! be told apart is passed on. Every message made here is one line an operator can act on.

pub mod log_lines;

use crate::host::redact::without_secrets;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

/// The socket that docker uses where `DOCKER_HOST` doesn't say otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// EAGAIN, ENOMEM, ENFILE and EMFILE: nothing that docker could help.
const OUT_OF: [i32; 4] = [11, 12, 23, 24];

/// One line for each container: its name, and its health where it has a health check. Asking for
/// `.State.Health.Status` alone fails where there is none.
const INSPECT_TEMPLATE: &str =
    "{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";

/// Whether `text` can be a container's name or id, and so is safe as an argument: never a flag,
/// never a path.
pub fn is_container_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The last `lines` lines of a container's log, each with its time. Its standard output and
/// standard error come back on docker's own two.
pub fn logs_arguments(container: &str, lines: u32) -> Vec<String> {
    ["logs", "--timestamps", "--tail", &lines.to_string(), container].map(String::from).into()
}

/// The ids of the running containers, for [`parse_ps`].
pub fn ps_arguments() -> Vec<String> {
    ["ps", "-q"].map(String::from).into()
}

/// Names and health of the containers `ids`, for [`parse_inspect`]. Where one has vanished docker
/// exits with 1, prints the others nevertheless, and [`only_vanished`] tells.
pub fn inspect_arguments(ids: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["inspect", "--format", INSPECT_TEMPLATE].map(String::from).into();
    arguments.extend_from_slice(ids);
    arguments
}

/// The ids that `docker ps -q` printed.
pub fn parse_ps(stdout: &str) -> Vec<String> {
    stdout.lines().map(str::trim).filter(|id| is_container_name(id)).map(String::from).collect()
}

/// A container's health as docker tells it, or `None` where it has no health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    Unhealthy,
    Starting,
    None,
}

/// Container name, without docker's leading slash, to health.
pub fn parse_inspect(stdout: &str) -> BTreeMap<String, Health> {
    stdout
        .lines()
        .filter_map(|line| {
            let (name, health) = line.split_once(' ').unwrap_or((line, ""));
            let name = name.trim_start_matches('/');
            let health = match health.trim() {
                "healthy" => Health::Healthy,
                "unhealthy" => Health::Unhealthy,
                "starting" => Health::Starting,
                _ => Health::None,
            };
            (!name.is_empty()).then(|| (name.to_string(), health))
        })
        .collect()
}

/// Whether all that `docker inspect` complains of is that containers are gone.
pub fn only_vanished(stderr: &str) -> bool {
    let mut lines = meaningful_lines(stderr).peekable();
    lines.peek().is_some() && lines.all(|line| is_no_such_container(&line.to_ascii_lowercase()))
}

/// Why docker did not do what it was asked, in one line. What docker itself had to say is in it
/// without control characters, without the secrets of a URL, and cut to a bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    NoSuchContainer(String),
    /// Docker can't be used at all: not installed, not running, permission denied.
    Unusable(String),
    Other(String),
}

impl Failure {
    /// Tells from docker's standard error why it failed. `exit` says how it ended, in case it said
    /// nothing else.
    pub fn classify(program: &str, stderr: &str, exit: impl fmt::Display) -> Failure {
        let docker = short_name(program);
        for line in meaningful_lines(stderr) {
            let words = line.to_ascii_lowercase();
            if is_no_such_container(&words) {
                let name = missing_name(line);
                return Failure::NoSuchContainer(format!(
                    "{docker}: no such container: {name}: see {docker} ps -a for those there are"
                ));
            }
            // A daemon that answers has let us in: what it complains of is something else.
            if words.contains("error response from daemon") {
                continue;
            }
            if words.contains("permission denied") {
                let socket = socket_path(line);
                let remedy = "add the agent's user to the docker group, or run it as root";
                return Failure::Unusable(format!(
                    "{docker}: permission denied on {socket}: {remedy}"
                ));
            }
            if is_not_connected(&words) {
                let (place, remedy) = match address(line) {
                    Some(address) if !address.starts_with("unix://") => (
                        format!(" at {address}"),
                        "see that it runs there, or set DOCKER_HOST".into(),
                    ),
                    address => (
                        address.map(|address| format!(" at {address}")).unwrap_or_default(),
                        format!("start it with systemctl start {docker}"),
                    ),
                };
                return Failure::Unusable(format!(
                    "{docker}: cannot connect to the daemon{place}: {remedy}"
                ));
            }
        }
        Failure::Other(match meaningful_lines(stderr).next() {
            Some(line) => format!("{docker}: {} ({exit})", printable(strip_prefixes(line), 200)),
            None => format!("{docker}: failed without a message ({exit})"),
        })
    }

    /// Why docker could not be started.
    pub fn not_started(program: &str, error: &io::Error) -> Failure {
        let docker = short_name(program);
        let path = printable(program, 100);
        let place = if program.contains('/') { "" } else { " on PATH" };
        let what = match error.kind() {
            io::ErrorKind::NotFound if !Path::new("/dev/null").exists() => {
                return Failure::Unusable(format!(
                    "{docker}: cannot be started: no /dev/null; mount /dev"
                ));
            }
            io::ErrorKind::NotFound => format!("not installed: no \"{path}\"{place}; install it"),
            io::ErrorKind::PermissionDenied => format!(
                "not executable: permission denied on \"{path}\"{place}; make it executable"
            ),
            _ if error.raw_os_error().is_some_and(|code| OUT_OF.contains(&code)) => {
                return Failure::Unusable(format!(
                    "{docker}: cannot be started: {error}: this machine is out of processes, \
                     files or memory; see ulimit -a"
                ));
            }
            _ => format!("cannot start \"{path}\": {error}; install it anew"),
        };
        Failure::Unusable(format!("{docker}: {what} or set VMKIT_DOCKER_BIN"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::NoSuchContainer(message)
        | Failure::Unusable(message)
        | Failure::Other(message)) = self;
        f.write_str(message)
    }
}

impl std::error::Error for Failure {}

/// The lines that may say why: not the empty ones, and not the warnings, which can hold the very
/// words looked for (`WARNING: Error loading config file: ...: permission denied`).
fn meaningful_lines(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.lines().map(str::trim).filter(|line| {
        let words = line.to_ascii_lowercase();
        !line.is_empty()
            && !words.starts_with("warning:")
            && !words.contains("level=warn")
            && !words.starts_with("emulate docker cli using podman")
    })
}

fn is_no_such_container(words: &str) -> bool {
    ["no such container", "no such object", "no container with name or id"]
        .iter()
        .any(|phrase| words.contains(phrase))
}

fn is_not_connected(words: &str) -> bool {
    [
        "cannot connect to the docker daemon",
        "failed to connect to the docker api", // from version 29 on
        "error during connect",                // over TLS and SSH
        "cannot connect to podman",
        "unable to connect to podman",
    ]
    .iter()
    .any(|phrase| words.contains(phrase))
}

/// The name in `No such container: NAME`, or in podman's `... "NAME" found: no such container`.
fn missing_name(line: &str) -> String {
    let quoted = line.split('"').nth(1);
    printable(quoted.or(line.rsplit(": ").next()).unwrap_or(line), 128)
}

/// The path of the socket that a message speaks of.
fn socket_path(line: &str) -> String {
    let path = address(line).and_then(|address| address.strip_prefix("unix://").map(String::from));
    path.unwrap_or(DEFAULT_SOCKET.into())
}

/// The daemon's address in a message, as in `... at unix:///var/run/docker.sock. Is the ...`.
fn address(line: &str) -> Option<String> {
    let scheme = ["unix://", "tcp://", "ssh://", "http://", "https://"]
        .iter()
        .filter_map(|scheme| line.find(scheme))
        .min()?;
    let address = line[scheme..].split([' ', '"', '\'']).next()?;
    Some(printable(address.trim_end_matches(['.', ':', ';', ',']), 100))
}

fn strip_prefixes(line: &str) -> &str {
    let line = line.strip_prefix("Error response from daemon: ").unwrap_or(line);
    line.strip_prefix("Error: ").unwrap_or(line)
}

/// The program's name without its folder.
fn short_name(program: &str) -> String {
    printable(program.rsplit('/').next().unwrap_or(program), 32)
}

/// `text` fit to be shown: at most `limit` characters, none that steers a terminal or starts a new
/// line, and no URL's user part or query.
fn printable(text: &str, limit: usize) -> String {
    // Beside the controls: separators of lines, and what turns the direction of text.
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    let mut shown: String =
        without_secrets(text).chars().map(|c| if steers(c) { ' ' } else { c }).collect();
    if let Some((end, _)) = shown.char_indices().nth(limit) {
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
