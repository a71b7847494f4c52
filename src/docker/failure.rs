//! Why docker failed, told from its standard error.
//!
//! Docker's wording changes between versions and podman has its own, so the phrases are matched
//! loosely. A failure that can't be told apart is passed on in docker's own words. Each message is
//! one line that an operator can act on.

use std::fmt;
use std::io;
use std::path::Path;

use crate::host::redact::without_secrets;

/// The socket that docker uses where `DOCKER_HOST` doesn't say otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// EAGAIN, ENOMEM, ENFILE and EMFILE: the machine's trouble, not docker's.
const OUT_OF: [i32; 4] = [11, 12, 23, 24];

/// Whether `docker inspect` failed only because containers are gone.
pub fn only_vanished(stderr: &str) -> bool {
    let mut lines = meaningful_lines(stderr).peekable();
    lines.peek().is_some() && lines.all(|line| is_no_such_container(&line.to_ascii_lowercase()))
}

/// Why docker failed, in one line of bounded length. Docker's own words are in it without control
/// characters and without the secrets of URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    NoSuchContainer(String),
    /// Docker can't be used at all: it is not installed, does not run, or denies permission.
    Unusable(String),
    Other(String),
}

impl Failure {
    /// Finds the reason in docker's standard error. `exit` says how docker ended.
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
            // A daemon that answers has granted access: its complaint is about something else.
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
                        format!("start it with sudo systemctl start {docker}"),
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

/// The lines that may hold the reason. Warnings are left out, because they can hold the same words
/// (`WARNING: Error loading config file: ...: permission denied`).
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

/// The path of the socket in a message.
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
    // Also separators of lines, and characters that turn the direction of text.
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
