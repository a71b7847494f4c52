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

/// What to do where a container's log can't be read.
const READABLE: &str = "run the container with the log driver json-file, local or journald";

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
    /// Docker can't be used: it is not installed, does not run, denies permission, is not set up
    /// here, or keeps no log that can be read. It stays so until somebody changes it on the machine.
    Unusable(String),
    Other(String),
}

impl Failure {
    /// Finds the reason in docker's standard error. `exit` says how docker ended.
    pub fn classify(program: &str, stderr: &str, exit: impl fmt::Display) -> Failure {
        let docker = short_name(program);
        let known = meaningful_lines(stderr).find_map(|line| known(&docker, line, stderr));
        known.unwrap_or_else(|| {
            Failure::Other(match meaningful_lines(stderr).next() {
                Some(line) => {
                    format!("{docker}: {} ({exit})", printable(strip_prefixes(line), 200))
                }
                None => format!("{docker}: failed without a message ({exit})"),
            })
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

/// What a line of docker's standard error means, if it is one of those that the agent knows.
fn known(docker: &str, line: &str, stderr: &str) -> Option<Failure> {
    let words = line.to_ascii_lowercase();
    if is_no_such_container(&words) {
        let name = missing_name(line);
        return Some(Failure::NoSuchContainer(format!(
            "{docker}: no such container: {name}: see {docker} ps -a for those there are"
        )));
    }
    let reason = match remedy_for_own_words(&words) {
        Some(remedy) => format!("{}: {remedy}", printable(strip_prefixes(line), 160)),
        // A daemon that answers has granted access: its complaint is about something else.
        None if words.contains("error response from daemon") => return None,
        // Before the permissions: what ssh says may be that its own were denied.
        None if words.contains("docker.example.com") => over_ssh(line, stderr),
        None if words.contains("permission denied") => format!(
            "permission denied on {}: add the agent's user to the docker group, or run it as root",
            socket_path(line)
        ),
        None if is_not_connected(&words) => not_connected(docker, line),
        None => return None,
    };
    Some(Failure::Unusable(format!("{docker}: {reason}")))
}

/// What to do about a complaint that says by itself what is wrong, such as a context that does not
/// exist.
fn remedy_for_own_words(words: &str) -> Option<&'static str> {
    const CONTEXT: &str = "see docker context ls, or unset DOCKER_CONTEXT";
    const REMEDIES: [(&str, &str); 7] = [
        ("is not found on the file system", CONTEXT),
        ("resolve docker endpoint: context", CONTEXT),
        ("resolve docker endpoint", "check DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"),
        ("failed to initialize", "check DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CERT_PATH"),
        ("client version", "unset DOCKER_API_VERSION, or update docker"),
        ("does not support reading", READABLE),
        ("cannot read logs", READABLE), // podman
    ];
    REMEDIES.iter().find(|(phrase, _)| words.contains(phrase)).map(|(_, remedy)| *remedy)
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
        "error during connect",                // over TLS
        "cannot connect to podman",
        "unable to connect to podman",
    ]
    .iter()
    .any(|phrase| words.contains(phrase))
}

fn not_connected(docker: &str, line: &str) -> String {
    let address = address(line);
    let place = address.as_deref().map(|it| format!(" at {it}")).unwrap_or_default();
    // Behind the URL that docker asked for.
    let why = line.split_once("\": ").map(|(_, why)| format!(": {}", printable(why, 100)));
    let why = why.unwrap_or_default();
    let remedy = match address {
        Some(address) if !address.starts_with("unix://") => {
            "see that it runs there, or check DOCKER_HOST and DOCKER_CERT_PATH".to_owned()
        }
        _ => format!("start it with sudo systemctl start {docker}"),
    };
    format!("cannot connect to the daemon{place}{why}: {remedy}")
}

/// With `DOCKER_HOST=ssh://`, docker's words have `http://docker.example.com`, which is not where
/// it connects to, then the command `[ssh ... -- HOST docker system dial-stdio]`, and at their end
/// what ssh said.
fn over_ssh(line: &str, stderr: &str) -> String {
    let command = line.split_once(" docker system dial-stdio").map_or("", |(command, _)| command);
    let host = printable(command.rsplit(' ').next().unwrap_or_default(), 64);
    let said = match stderr.split_once(" stderr=") {
        // The reason is the last of it, after warnings and questions.
        Some((_, said)) => said.lines().map(str::trim).rfind(|said| !said.is_empty()),
        // ssh was not started.
        None => line.split_once("\": ").map(|(_, why)| why),
    };
    let said = printable(said.unwrap_or("ssh said nothing"), 100);
    let host = if host.is_empty() { "the host of DOCKER_HOST" } else { &host };
    format!(
        "cannot connect to the daemon over ssh, to {host}: {said}: see that the agent's user can \
         log in there with ssh and without a password"
    )
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

/// The daemon's address in a message, as in `... at unix:///var/run/docker.sock. Is the ...`. Of a
/// URL only what names the daemon.
fn address(line: &str) -> Option<String> {
    let (at, scheme) = ["unix://", "tcp://", "ssh://", "http://", "https://"]
        .iter()
        .filter_map(|scheme| Some((line.find(scheme)?, scheme)))
        .min()?;
    let address = line[at..].split([' ', '"', '\'']).next()?;
    let path = address[scheme.len()..].find(['/', '?']).filter(|_| scheme.starts_with("http"));
    let address = path.map_or(address, |path| &address[..scheme.len() + path]);
    Some(printable(address.trim_end_matches(['.', ':', ';', ',']), 100))
}

fn strip_prefixes(line: &str) -> &str {
    ["Error response from daemon: ", "Error: ", "Failed to initialize: "]
        .iter()
        .fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line))
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
