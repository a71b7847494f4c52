//! The command line. Secrets come by file or environment, because arguments are everyone's to read in
//! `ps`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;
use tracing::Level;

use crate::access::Given;
use crate::access::scope::Scopes;
use crate::access::secret::{Hash, Kind};
use crate::access::tokens::Command;
use crate::agents::register::InstanceId;
use crate::check;
use crate::gateway::Clocks;
use crate::net::hosts::Hosts;
use crate::net::places::Limits;
use crate::net::tls;

pub const HELP: &str = "\
The reference gateway of vmkit-agent.

usage: gateway [OPTIONS]
       gateway token add --data DIR --name NAME --scopes read,logs,operate
       gateway token add --data DIR --name NAME --agent [--instance ID]
       gateway token list --data DIR
       gateway token revoke --data DIR ID
       gateway check [OPTIONS] [-- AGENT [ARGUMENTS]]   (see gateway check --help)

  --data DIR          store all data there; it survives a restart (default: in memory)
  --listen ADDRESS    listen here (default 127.0.0.1:0: loopback, a free port)
  --page ADDRESS      serve the page and REST there too, as plain http: for browsers that do not know
                      the CA; loopback only (127.0.0.1:0: a free port)
  --token-file FILE   a token for agents, beside those of `gateway token` (or GATEWAY_TOKEN in the
                      environment; required without --data)
  --api-key-file FILE an API key with all scopes, beside those of `gateway token`: it begins with
                      vmk_ and has at least 32 characters in all (or GATEWAY_API_KEY)
  --plain             ws: and http: instead of wss: and https:
  --ca-out FILE       write the certificate of the CA, made anew at every start, as PEM
  --cert-name NAME    a name or address in the server's certificate, repeatable
                      (default localhost, 127.0.0.1 and ::1)
  --cert-days A,B     the certificate is valid from A to B days from now (default -1,30)
  --poll SECS         ask each agent for metrics at register and then this often (60; 0: never)
  --ping SECS         ping each agent this often; the pong is due in 10 s (20; 0: never)
  --heartbeat SECS    drop an agent that has sent no frame for this long (40; 0: never)
  --connections N     take at most N connections, those of agents among them (25000, or as many as
                      ulimit -Hn allows)
  --per-address N     take at most N connections from one address (12000)
  --host NAME         a name by which MCP clients call this gateway, repeatable (beside localhost,
                      127.0.0.1, [::1] and those of --cert-name)
  --log LEVEL         on standard error: error, warn, info, debug (warn)
  --no-stdin          take no commands; the end of standard input does not end the gateway
  --help              print this help

`gateway token add` prints the new key or token, once: it is kept as a hash only. Scopes: read for
instances, history and events; logs for what containers write; operate for upgrades, which is as good
as root on every VM. A token bound to an instance with --instance can't be used by any other, and has
at most 8 sessions at once. `gateway token` also works while the gateway runs, and revoked keys and
tokens end at once.

It prints one JSON object a line: {\"event\": ...} for what happens, and for line N of standard
input {\"command\": N, \"answer\": ...} or {\"command\": N, \"error\": {...}}. The line `help` lists
the commands: `forget ID` takes away an instance that is lost, with all that is stored of it; by
itself it is forgotten after 31 days. Of the latest snapshots 512 MiB are kept in all: beyond that, those
of the instances that are lost for the longest go first. /api/openapi.json describes the paths.
";

const LEAST_KEY: usize = 32;
const NAME_LIMIT: usize = 100;

pub enum Parsed {
    Help,
    Token { data: PathBuf, command: Command },
    Check(check::arguments::Parsed),
    Run(Box<Arguments>),
}

pub struct Arguments {
    pub data: Option<PathBuf>,
    pub listen: SocketAddr,
    /// Plain HTTP, on loopback.
    pub page: Option<SocketAddr>,
    pub given: Given,
    /// `None` is `--plain`.
    pub tls: Option<tls::Settings>,
    pub clocks: Clocks,
    pub limits: Limits,
    pub hosts: Hosts,
    pub log: Level,
    pub stdin: bool,
}

/// As they are given.
#[derive(Default)]
struct Options {
    data: Option<PathBuf>,
    token_file: Option<PathBuf>,
    api_key_file: Option<PathBuf>,
    listen: Option<SocketAddr>,
    page: Option<SocketAddr>,
    plain: bool,
    tls: tls::Settings,
    clocks: Clocks,
    limits: Limits,
    hosts: Vec<String>,
    log: Option<Level>,
    no_stdin: bool,
}

pub fn parse() -> Result<Parsed, String> {
    let mut arguments = std::env::args_os();
    let word = arguments.nth(1);
    let (parsed, help) = match word.as_ref().and_then(|word| word.to_str()) {
        Some("token") => (token(lexopt::Parser::from_args(arguments)), "gateway --help"),
        Some("check") => {
            let parsed = check::arguments::parse(lexopt::Parser::from_args(arguments));
            (parsed.map(Parsed::Check), "gateway check --help")
        }
        _ => (run(lexopt::Parser::from_env()), "gateway --help"),
    };
    parsed.map_err(|error| format!("{error}; see {help}"))
}

fn run(mut parser: lexopt::Parser) -> Result<Parsed, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => options.data = Some(parser.value()?.into()),
            Long("listen") => options.listen = Some(parser.value()?.parse()?),
            Long("token-file") => options.token_file = Some(parser.value()?.into()),
            Long("api-key-file") => options.api_key_file = Some(parser.value()?.into()),
            Long("page") => options.page = Some(parser.value()?.parse_with(loopback)?),
            Long("plain") => options.plain = true,
            Long("ca-out") => options.tls.ca_out = Some(parser.value()?.into()),
            Long("cert-name") => options.tls.names.push(parser.value()?.string()?),
            Long("cert-days") => options.tls.days = parser.value()?.parse_with(days)?,
            Long("poll") => options.clocks.poll = parser.value()?.parse_with(period)?,
            Long("ping") => options.clocks.ping = parser.value()?.parse_with(period)?,
            Long("heartbeat") => options.clocks.heartbeat = parser.value()?.parse_with(period)?,
            Long("connections") => options.limits.all = Some(parser.value()?.parse()?),
            Long("per-address") => options.limits.of_address = parser.value()?.parse()?,
            Long("host") => options.hosts.push(parser.value()?.string()?),
            Long("log") => options.log = Some(parser.value()?.parse()?),
            Long("no-stdin") => options.no_stdin = true,
            Long("help") | Short('h') => return Ok(Parsed::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Parsed::Run(Box::new(options.checked()?)))
}

impl Options {
    fn checked(self) -> Result<Arguments, String> {
        let agent_token = secret("the token", self.token_file.as_deref(), "GATEWAY_TOKEN")?;
        let api_key = secret("the API key", self.api_key_file.as_deref(), "GATEWAY_API_KEY")?;
        if agent_token.is_none() && self.data.is_none() {
            return Err("no token for agents: give --token-file or set GATEWAY_TOKEN, or keep tokens in --data DIR".to_owned());
        }
        let prefix = Kind::Api.prefix();
        let is_key = |key: &String| key.starts_with(prefix) && key.len() >= LEAST_KEY;
        if !api_key.as_ref().is_none_or(is_key) {
            return Err(format!(
                "the API key does not begin with {prefix}, or has less than {LEAST_KEY} characters"
            ));
        }
        if agent_token.as_ref().is_some_and(|token| token.starts_with(prefix)) {
            return Err(
                "the token for agents is an API key (vmk_...); give an agent token".to_owned()
            );
        }
        let hash = |secret: Option<String>| secret.map(|secret| Hash::of(&secret));
        Ok(Arguments {
            data: self.data,
            hosts: Hosts::new(self.tls.names.iter().chain(&self.hosts)),
            listen: self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            page: self.page,
            given: Given { agent_token: hash(agent_token), api_key: hash(api_key) },
            tls: (!self.plain).then_some(self.tls),
            clocks: self.clocks,
            limits: self.limits,
            log: self.log.unwrap_or(Level::WARN),
            stdin: !self.no_stdin,
        })
    }
}

fn token(mut parser: lexopt::Parser) -> Result<Parsed, lexopt::Error> {
    let mut words: Vec<OsString> = Vec::new();
    let (mut data, mut name, mut instance) = (None, None, None);
    let mut scopes: Option<Scopes> = None;
    let mut agent = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("name") => name = Some(parser.value()?.parse_with(key_name)?),
            Long("scopes") => scopes = Some(parser.value()?.parse()?),
            Long("instance") => instance = Some(parser.value()?.parse_with(instance_id)?),
            Long("agent") => agent = true,
            Long("help") | Short('h') => return Ok(Parsed::Help),
            Value(word) => words.push(word),
            other => return Err(other.unexpected()),
        }
    }
    let data = data.ok_or("token: --data is missing")?;
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let command = match (words[..].as_ref(), name, scopes, agent) {
        (["add"], Some(name), Some(scopes), false) if instance.is_none() => {
            Command::AddApi { name, scopes }
        }
        (["add"], Some(name), None, true) => Command::AddAgent { name, instance },
        (["list"], None, None, false) => Command::List,
        (["revoke", id], None, None, false) => Command::Revoke { id: (*id).to_owned() },
        _ => return Err("token: wrong options; it takes add --name NAME and --scopes or --agent, list, or revoke ID".into()),
    };
    Ok(Parsed::Token { data, command })
}

/// `None`: there is none.
fn secret(what: &str, file: Option<&Path>, variable: &str) -> Result<Option<String>, String> {
    let (source, text) = match file {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => (path.display().to_string(), text),
            Err(error) => return Err(format!("reading {what} from {}: {error}", path.display())),
        },
        None => match std::env::var(variable) {
            Ok(text) => (variable.to_owned(), text),
            Err(_) => return Ok(None),
        },
    };
    match text.trim_end() {
        "" => Err(format!("{what} in {source} is empty")),
        text => Ok(Some(text.to_owned())),
    }
}

/// Seconds, fractions allowed; `0` is never.
fn period(text: &str) -> Result<Option<Duration>, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) => Ok(None),
        Ok(period) => Ok(Some(period)),
        Err(error) => Err(error.to_string()),
    }
}

fn days(text: &str) -> Result<(i64, i64), String> {
    // Within what a certificate can say.
    let day = |text: &str| text.parse().ok().filter(|day: &i64| day.abs() <= 36_500);
    text.split_once(',')
        .and_then(|(from, to)| Some((day(from)?, day(to)?)))
        .filter(|(from, to)| from < to)
        .ok_or_else(|| "not two numbers of days A,B, A the smaller".to_owned())
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "not an address such as 127.0.0.1:0")?;
    // The sign-in's cookie and API keys travel over it unencrypted.
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("not a loopback address; other machines use --listen".to_owned()),
    }
}

fn key_name(text: &str) -> Result<String, String> {
    let fits = (1..=NAME_LIMIT).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| format!("not a name of 1 to {NAME_LIMIT} bytes"))
}

fn instance_id(text: &str) -> Result<InstanceId, String> {
    InstanceId::try_from(text.to_owned()).map_err(str::to_owned)
}
