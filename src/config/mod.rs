//! The configuration: variables as they were written, checked once, and from then on only as the
//! types below. What has no type here does not leave this room.

pub mod env_file;
mod gateway;
mod release_key;
mod sources;
mod token;
pub mod trust;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use rustls::ClientConfig;
use ureq::{Proxy, ProxyProtocol};

use sources::{Found, Purpose};

pub use gateway::{Gateway, is_loopback, split_authority};
pub use release_key::ReleaseKey;
pub use sources::Examined;
pub use token::{Token, TokenSource};

/// Where the service manager and a start by hand find the variables.
pub const ENV_FILE: &str = "/etc/vmkit/agent.env";
const TOKEN: &str = "VMKIT_AGENT_TOKEN";
const GATEWAY: &str = "VMKIT_GATEWAY_URL";
const DEFAULT_GATEWAY: &str = "wss://gateway.vmkit.dev/api/daemon";
const DEFAULT_PROBATION: Duration = Duration::from_secs(120);

/// All that can be set, checked.
pub struct Config {
    pub token: Token,
    /// Where the token was found.
    pub token_source: TokenSource,
    pub gateway: Gateway,
    pub log_level: LevelFilter,
    pub instance_id: String,
    pub tls: Arc<ClientConfig>,
    pub docker: OsString,
    pub proxy: Option<Proxy>,
    pub upgrade: UpgradeConfig,
    /// What children find in their environment beside ours: the rest of [`ENV_FILE`], where the
    /// agent had to read it itself.
    pub environment: Vec<(String, String)>,
}

/// What an upgrade needs, also one by hand, which has no token.
#[derive(Clone)]
pub struct UpgradeConfig {
    pub tls: Arc<ClientConfig>,
    pub proxy: Option<Proxy>,
    /// Whether the gateway may have the binary replaced; by hand it is always allowed.
    pub by_gateway: bool,
    /// Whose signature a new binary must have.
    pub release_key: Option<ReleaseKey>,
    /// How long a new binary has for its `register` to be acknowledged.
    pub probation: Duration,
    /// What restarts the service, for the shell.
    pub restart_command: Option<String>,
}

/// A variable that can't be used; the program ends with EX_CONFIG.
#[derive(Debug)]
pub struct Error {
    variable: &'static str,
    problem: String,
}

impl Config {
    /// Reads the environment and, where that has no token and there is no credential,
    /// [`ENV_FILE`].
    ///
    /// # Errors
    /// The first variable that can't be used, with what is wrong and what would be right.
    pub fn load() -> Result<Config, Error> {
        let Found { variables, environment, token } =
            Found::gather(sources::credentials(), Purpose::Start);
        Config::check(&variables, environment, token?)
    }

    fn check(
        variables: &Variables,
        environment: Vec<(String, String)>,
        token_source: TokenSource,
    ) -> Result<Config, Error> {
        let token = variables.get(TOKEN).ok_or_else(|| {
            Error::new(TOKEN, format!("not set; write the agent token to {ENV_FILE}"))
        })?;
        let upgrade = UpgradeConfig::check(variables)?;
        Ok(Config {
            token: Token::check(token)?,
            token_source,
            gateway: Gateway::check(variables.gateway())?,
            log_level: log_level(variables.get("VMKIT_LOG_LEVEL").unwrap_or("info"))?,
            instance_id: match variables.get("VMKIT_INSTANCE_ID") {
                Some(id) => instance_id(id)?,
                None => found_instance_id(),
            },
            tls: Arc::clone(&upgrade.tls),
            docker: variables.get("VMKIT_DOCKER_BIN").unwrap_or("docker").into(),
            proxy: upgrade.proxy.clone(),
            upgrade,
            environment,
        })
    }

    /// The proxy that leads to the gateway. A `ws:` URL has none: without TLS the proxy, and everybody
    /// on the way to it, would see the token.
    pub fn gateway_proxy(&self) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref().filter(|_| self.gateway.tls());
        proxy.filter(|proxy| !proxy.is_no_proxy(self.gateway.uri()))
    }

    /// Whether an agent could be started with what a file like [`ENV_FILE`] holds. No token is no
    /// fault: that may come later, or from elsewhere.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn check_file(text: &str) -> Result<(), Error> {
        let mut variables = Variables::of(env_file::parse(text));
        if variables.get("VMKIT_AGENT_TOKEN").is_none() {
            variables.0.insert("VMKIT_AGENT_TOKEN".to_owned(), "later".to_owned());
        }
        Config::check(&variables, Vec::new(), TokenSource::File).map(drop)
    }
}

impl UpgradeConfig {
    /// As [`Config::load`]; a missing [`ENV_FILE`] is no error.
    ///
    /// # Errors
    /// The first variable that can't be used.
    pub fn load() -> Result<UpgradeConfig, Error> {
        let mut variables = Variables::from_environment();
        if variables.get(TOKEN).is_none() {
            for (name, value) in read_env_file().unwrap_or_default() {
                variables.0.entry(name).or_insert(value);
            }
        }
        UpgradeConfig::check(&variables)
    }

    /// What the agent that started this process has, no more and no less.
    ///
    /// # Errors
    /// None that the agent itself would not have had.
    pub fn inherited() -> Result<UpgradeConfig, Error> {
        UpgradeConfig::check(&Variables::from_environment())
    }

    fn check(variables: &Variables) -> Result<UpgradeConfig, Error> {
        let extra_roots = match variables.get("VMKIT_CA_FILE") {
            None => rustls::RootCertStore::empty(),
            Some(path) => {
                let pem = read_regular(Path::new(path)).map_err(|error| error.to_string());
                pem.and_then(|pem| trust::roots(&pem)).map_err(|problem| {
                    Error::new("VMKIT_CA_FILE", format!("{path}: {problem}; name a PEM file"))
                })?
            }
        };
        Ok(UpgradeConfig {
            tls: trust::client_config(extra_roots)
                .map_err(|error| Error::new("VMKIT_CA_FILE", error.to_string()))?,
            proxy: proxy(variables)?,
            by_gateway: variables.get("VMKIT_UPGRADES").map_or(Ok(true), on_or_off)?,
            release_key: ReleaseKey::choose(variables.get("VMKIT_UPGRADE_PUBKEY"))?,
            probation: variables
                .get("VMKIT_UPGRADE_PROBATION_SECS")
                .map_or(Ok(DEFAULT_PROBATION), probation)?,
            restart_command: variables.get("VMKIT_RESTART_CMD").map(str::to_owned),
        })
    }
}

impl Error {
    /// Which one it is.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    fn new(variable: &'static str, problem: String) -> Error {
        Error { variable, problem }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}

/// The variables as they were written; an empty one counts as absent.
#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn from_environment() -> Variables {
        // What is not UTF-8 can't be right for any of ours; `check` then says so.
        Variables(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
                })
                .collect(),
        )
    }

    /// Of several values for a name the last one counts.
    fn of(assignments: Vec<(String, String)>) -> Variables {
        Variables(assignments.into_iter().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The gateway's URL, which has a default.
    fn gateway(&self) -> &str {
        self.get(GATEWAY).unwrap_or(DEFAULT_GATEWAY)
    }
}

fn read_env_file() -> io::Result<Vec<(String, String)>> {
    Ok(env_file::parse(&env_file_text()?))
}

/// What is in [`ENV_FILE`]. A comment in another encoding is no reason not to be connected.
///
/// # Errors
/// The operating system's own.
pub fn env_file_text() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_regular(Path::new(ENV_FILE))?).into_owned())
}

/// What is in a file that somebody has named: one that is a pipe would be waited for.
///
/// # Errors
/// The operating system's own, or that it is none.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn log_level(text: &str) -> Result<LevelFilter, Error> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        other => Err(Error::new(
            "VMKIT_LOG_LEVEL",
            format!("{other:?} is not a level; use error, warn, info, debug or trace"),
        )),
    }
}

fn instance_id(id: &str) -> Result<String, Error> {
    if id.len() <= 256 && id.chars().all(|character| !character.is_control()) {
        Ok(id.to_owned())
    } else {
        let problem = "longer than 256 bytes, or with control characters";
        Err(Error::new("VMKIT_INSTANCE_ID", problem.to_owned()))
    }
}

fn on_or_off(text: &str) -> Result<bool, Error> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => {
            Err(Error::new("VMKIT_UPGRADES", format!("{other:?} is neither \"on\" nor \"off\"")))
        }
    }
}

fn probation(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse().ok().filter(|seconds| (5..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let problem = format!("{text:?} is not a number of seconds from 5 to 3600");
        Error::new("VMKIT_UPGRADE_PROBATION_SECS", problem)
    })
}

/// cloud-init's id, else the machine's, else its name.
fn found_instance_id() -> String {
    ["/var/lib/cloud/data/instance-id", "/etc/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        // What a machine's image holds before its first boot.
        .filter(|id| !id.is_empty() && id != "uninitialized")
        .find_map(|id| instance_id(&id).ok())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

fn proxy(variables: &Variables) -> Result<Option<Proxy>, Error> {
    let Some(text) = variables.get("HTTPS_PROXY").or_else(|| variables.get("https_proxy")) else {
        return Ok(None);
    };
    // The URL itself is not repeated: it may hold a password.
    let refuse = |problem: &str| {
        let problem = format!("{problem}; it looks like http://proxy.example.com:3128");
        Error::new("HTTPS_PROXY", problem)
    };
    let parsed = Proxy::new(text).map_err(|_| refuse("not a URL"))?;
    if parsed.protocol() != ProxyProtocol::Http {
        return Err(refuse("only http: proxies are spoken to"));
    }
    // ureq reads a port that is none as if there were none.
    let authority = parsed.uri().authority();
    authority.map(split_authority).transpose().map_err(refuse)?;
    if text.contains('@') && !authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("its password has a /, ? or # in it: write them as %2F, %3F, %23"));
    }
    let mut builder = Proxy::builder(ProxyProtocol::Http).host(parsed.host()).port(parsed.port());
    if let Some(username) = parsed.username() {
        builder = builder.username(username);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let exceptions = variables.get("NO_PROXY").or_else(|| variables.get("no_proxy"));
    for entry in exceptions.unwrap_or_default().split([',', ' ']).filter(|entry| !entry.is_empty())
    {
        builder = builder.no_proxy(entry);
        // As curl and most others have it, a domain stands for the names below it too.
        if entry.parse::<IpAddr>().is_err() && !entry.contains('*') && !entry.starts_with('.') {
            builder = builder.no_proxy(&format!(".{entry}"));
        }
    }
    builder.build().map(Some).map_err(|_| refuse("not a URL"))
}

#[cfg(test)]
mod tests;
