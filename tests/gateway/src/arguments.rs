//! The command line, and the token, which comes by file or environment because arguments are
//! everyone's to read in `ps`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::tls;
use crate::state::{Clocks, Token};

pub const HELP: &str = "\
The reference gateway of vmkit-agent.

usage: gateway [OPTIONS]        (the token: --token-file, or GATEWAY_TOKEN in the environment)

  --listen ADDRESS    listen here (default 127.0.0.1:0: loopback, a free port)
  --token-file FILE   the bearer token that agents must present
  --plain             ws: instead of wss:
  --ca-out FILE       write the certificate of the CA, made anew at every start, as PEM
  --cert-name NAME    a name or address in the server's certificate, repeatable
                      (default localhost, 127.0.0.1 and ::1)
  --cert-days A,B     it is valid from A to B days from now (default -1,30)
  --poll SECS         ask each agent for metrics at register and then this often (60; 0: never)
  --ping SECS         ping each agent this often; the pong is due in 10 s (20; 0: never)
  --heartbeat SECS    drop an agent that has not pinged for this long (40; 0: never)
  --no-stdin          take no commands; the end of standard input does not end the gateway
  --help              this

It prints one JSON object a line: {\"event\": ...} for what happens, and for line N of standard
input {\"command\": N, \"answer\": ...} or {\"command\": N, \"error\": {...}}. The line `help` lists
the commands. Paths: /api/daemon, /api/instances, /api/instances/{id}, /health.
";

pub enum Parsed {
    Help,
    Run(Arguments),
}

pub struct Arguments {
    pub listen: SocketAddr,
    pub token: Token,
    /// `None` is `--plain`.
    pub tls: Option<tls::Settings>,
    pub clocks: Clocks,
    pub stdin: bool,
}

pub fn parse() -> Result<Parsed, String> {
    read(lexopt::Parser::from_env()).map_err(|error| format!("{error}; see gateway --help"))
}

fn read(mut parser: lexopt::Parser) -> Result<Parsed, lexopt::Error> {
    use lexopt::prelude::*;

    let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut token_file: Option<PathBuf> = None;
    let mut plain = false;
    let mut tls = tls::Settings::default();
    let mut clocks = Clocks::default();
    let mut stdin = true;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => listen = parser.value()?.parse()?,
            Long("token-file") => token_file = Some(parser.value()?.into()),
            Long("plain") => plain = true,
            Long("ca-out") => tls.ca_out = Some(parser.value()?.into()),
            Long("cert-name") => tls.names.push(parser.value()?.string()?),
            Long("cert-days") => tls.days = parser.value()?.parse_with(days)?,
            Long("poll") => clocks.poll = parser.value()?.parse_with(period)?,
            Long("ping") => clocks.ping = parser.value()?.parse_with(period)?,
            Long("heartbeat") => clocks.heartbeat = parser.value()?.parse_with(period)?,
            Long("no-stdin") => stdin = false,
            Long("help") | Short('h') => return Ok(Parsed::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Parsed::Run(Arguments {
        listen,
        token: token(token_file)?,
        tls: (!plain).then_some(tls),
        clocks,
        stdin,
    }))
}

fn token(file: Option<PathBuf>) -> Result<Token, String> {
    let (source, text) = match file {
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => (path.display().to_string(), text),
            Err(error) => {
                return Err(format!("reading the token from {}: {error}", path.display()));
            }
        },
        None => match std::env::var("GATEWAY_TOKEN") {
            Ok(text) => ("GATEWAY_TOKEN".to_owned(), text),
            Err(_) => return Err("no token: give --token-file or set GATEWAY_TOKEN".to_owned()),
        },
    };
    Token::new(text.trim_end()).ok_or_else(|| format!("the token in {source} is empty"))
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
