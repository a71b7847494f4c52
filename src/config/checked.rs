//! All that can be set, checked: from here on the configuration is only these types.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use rustls::ClientConfig;
use ureq::Proxy;

use super::error::Error;
use super::files::{ENV_FILE, read_regular};
use super::gateway::Gateway;
use super::labels::{self, Labels};
use super::no_proxy::NoProxy;
use super::proxy;
use super::release_key::ReleaseKey;
use super::token::{Token, TokenSource};
use super::trust;
use super::variables::{self as names, Variables};

const DEFAULT_PROBATION: Duration = Duration::from_secs(120);
/// What a probation may last, in seconds.
const PROBATION_SECONDS: std::ops::RangeInclusive<u64> = 5..=3600;

/// All that can be set.
pub struct Config {
    pub token: Token,
    /// Where the token was found.
    pub token_source: TokenSource,
    pub gateway: Gateway,
    pub log_level: LevelFilter,
    pub instance_id: String,
    pub labels: Labels,
    pub docker: OsString,
    /// The trust and the proxy in it serve the session as well as downloads.
    pub upgrade: UpgradeConfig,
    /// Variables that children find in their environment beside the agent's own: the other
    /// assignments of [`ENV_FILE`], where the agent had to read the file itself.
    pub environment: Vec<(String, String)>,
}

/// What an upgrade needs, also an upgrade by hand, which has no token.
#[derive(Clone)]
pub struct UpgradeConfig {
    pub tls: Arc<ClientConfig>,
    pub proxy: Option<Proxy>,
    /// The hosts that are reached without the proxy.
    pub no_proxy: NoProxy,
    /// Whether the gateway may have the binary replaced; by hand it is always allowed.
    pub by_gateway: bool,
    /// Whose signature a new binary must have.
    pub release_key: Option<ReleaseKey>,
    /// How long a new binary has for its `register` to be acknowledged.
    pub probation: Duration,
    /// What restarts the service, for the shell.
    pub restart_command: Option<String>,
}

impl Config {
    pub(super) fn check(
        variables: &Variables,
        environment: Vec<(String, String)>,
        token_source: TokenSource,
    ) -> Result<Config, Error> {
        let token = variables.get(names::TOKEN).ok_or_else(|| {
            Error::new(names::TOKEN, format!("not set; write the agent token to {ENV_FILE}"))
        })?;
        Ok(Config {
            upgrade: UpgradeConfig::check(variables)?,
            token: Token::check(token)?,
            token_source,
            gateway: Gateway::check(variables.gateway())?,
            log_level: log_level(variables.get(names::LOG_LEVEL).unwrap_or("info"))?,
            instance_id: match variables.get(names::INSTANCE_ID) {
                Some(id) => instance_id(id)?,
                None => found_instance_id(),
            },
            labels: variables.get(names::LABELS).map_or(Ok(Labels::new()), labels::check)?,
            docker: variables.get(names::DOCKER_BIN).unwrap_or("docker").into(),
            environment,
        })
    }

    /// The proxy that leads to the gateway. A `ws:` URL has none: without TLS the proxy, and everybody
    /// on the way to it, would see the token.
    pub fn gateway_proxy(&self) -> Option<&Proxy> {
        let gateway = &self.gateway;
        let proxy = self.upgrade.proxy_to(gateway.host(), gateway.port());
        proxy.filter(|_| gateway.tls())
    }
}

impl UpgradeConfig {
    /// The proxy that leads to `host`; none if there is none, or NO_PROXY has the host.
    pub fn proxy_to(&self, host: &str, port: u16) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.no_proxy.has(host, port))
    }

    /// What to tell the operator of the proxy's settings; none if all is well.
    pub fn proxy_problem(&self) -> Option<String> {
        self.proxy.as_ref().and_then(|_| self.no_proxy.problem())
    }

    pub(super) fn check(variables: &Variables) -> Result<UpgradeConfig, Error> {
        let ca_file = variables.get(names::CA_FILE);
        let extra_roots = match ca_file {
            None => rustls::RootCertStore::empty(),
            Some(path) => {
                let file = read_regular(Path::new(path))
                    .map_err(|error| format!("{error}; name a PEM file"));
                file.and_then(|file| trust::roots(&file))
                    .map_err(|problem| Error::new(names::CA_FILE, format!("{path}: {problem}")))?
            }
        };
        Ok(UpgradeConfig {
            tls: trust::client_config(extra_roots, ca_file)
                .map_err(|error| Error::new(names::CA_FILE, error.to_string()))?,
            proxy: proxy::check(variables)?,
            no_proxy: proxy::exceptions(variables),
            by_gateway: variables.get(names::UPGRADES).map_or(Ok(true), on_or_off)?,
            release_key: ReleaseKey::choose(variables.get(names::UPGRADE_PUBKEY))?,
            probation: variables
                .get(names::UPGRADE_PROBATION_SECS)
                .map_or(Ok(DEFAULT_PROBATION), probation)?,
            restart_command: variables.get(names::RESTART_CMD).map(str::to_owned),
        })
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
            names::LOG_LEVEL,
            format!("{other:?} is not a level; use error, warn, info, debug or trace"),
        )),
    }
}

fn instance_id(id: &str) -> Result<String, Error> {
    if id.len() <= 256 && id.chars().all(|character| !character.is_control()) {
        Ok(id.to_owned())
    } else {
        Err(Error::new(names::INSTANCE_ID, "longer than 256 bytes, or with control characters"))
    }
}

fn on_or_off(text: &str) -> Result<bool, Error> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => {
            Err(Error::new(names::UPGRADES, format!("{other:?} is neither \"on\" nor \"off\"")))
        }
    }
}

fn probation(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse().ok().filter(|seconds| PROBATION_SECONDS.contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let (least, most) = (PROBATION_SECONDS.start(), PROBATION_SECONDS.end());
        let problem = format!("{text:?} is not a number of seconds from {least} to {most}");
        Error::new(names::UPGRADE_PROBATION_SECS, problem)
    })
}

/// cloud-init's id, else the machine's, else its name.
fn found_instance_id() -> String {
    ["/var/lib/cloud/data/instance-id", "/etc/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        // A machine's image says "uninitialized" before its first boot.
        .filter(|id| !id.is_empty() && id != "uninitialized")
        .find_map(|id| instance_id(&id).ok())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
