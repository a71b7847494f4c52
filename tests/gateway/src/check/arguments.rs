//! The command line of `gateway check`.

use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::prelude::*;

pub const HELP: &str = "\
Checks an agent: every rule of dist/protocol.md that binds agents.

usage: gateway check [OPTIONS] [-- PROGRAM [ARGUMENTS]]

With PROGRAM the kit copies that file into folders of its own and starts it there, several at a time,
with a stand-in for docker: all rules can be checked. Without PROGRAM it prints an address and waits
for one agent; rules that need a restart, signals or another environment are NOT TESTED then.

  --only LIST         these rules alone: ids and beginnings of ids, such as A-LOG,A-CONN-2
  --upgrade-binary FILE  the agent as another, higher version, for the rules about upgrades
  --clock-scale S     for an agent whose clocks were shortened on purpose: multiply all times of the
                      protocol over a second by S, 0.01 to 1, but for the 1.5 s of A-CLOSE-3 and the
                      5 s of --version (1)
  --parallel N        run at most N agents at a time (8)
  --json              print JSON instead of the table
  --junit FILE        write the results as JUnit XML too
  --list              print every rule, and how it is checked
  --help              print this help

  without PROGRAM:
  --listen ADDRESS    listen here (default 127.0.0.1:0: loopback, a free port)
  --tls CA_FILE       wss: instead of ws:, and write the CA's certificate there, as PEM
  --token-file FILE   the token that the agent was given (or GATEWAY_TOKEN)
  --fixtures DIR      write the stand-in for docker there; the agent needs VMKIT_DOCKER_BIN=DIR/docker

A MUST that is broken is FAIL, a SHOULD that is broken is WARN. NOT TESTED says why. Exit status: 0 if
every rule was tested and no MUST is broken, 1 on a FAIL or NOT TESTED, 2 if the kit itself failed.
";

pub struct Arguments {
    /// Program and arguments of the agent; empty: it comes by itself.
    pub command: Vec<String>,
    /// Ids and beginnings of ids; empty: all.
    pub only: Vec<String>,
    pub upgrade_binary: Option<PathBuf>,
    pub clock_scale: f64,
    pub parallel: usize,
    pub json: bool,
    pub junit: Option<PathBuf>,
    pub listen: SocketAddr,
    pub tls: Option<PathBuf>,
    pub token: Option<String>,
    pub fixtures: Option<PathBuf>,
}

pub enum Parsed {
    Help,
    List,
    Check(Box<Arguments>),
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            command: Vec::new(),
            only: Vec::new(),
            upgrade_binary: None,
            clock_scale: 1.0,
            parallel: 8,
            json: false,
            junit: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            token: None,
            fixtures: None,
        }
    }
}

pub fn parse(mut parser: lexopt::Parser) -> Result<Parsed, lexopt::Error> {
    let mut options = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => {
                let list = parser.value()?.string()?;
                options.only.extend(list.split(',').map(|id| id.trim().to_owned()));
            }
            Long("upgrade-binary") => options.upgrade_binary = Some(parser.value()?.into()),
            Long("clock-scale") => options.clock_scale = parser.value()?.parse_with(scale)?,
            Long("parallel") => options.parallel = parser.value()?.parse()?,
            Long("json") => options.json = true,
            Long("junit") => options.junit = Some(parser.value()?.into()),
            Long("list") => return Ok(Parsed::List),
            Long("listen") => options.listen = parser.value()?.parse()?,
            Long("tls") => options.tls = Some(parser.value()?.into()),
            Long("token-file") => options.token = Some(token(&PathBuf::from(parser.value()?))?),
            Long("fixtures") => options.fixtures = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Parsed::Help),
            Value(program) => {
                options.command.push(program.string()?);
                let rest = parser.raw_args()?;
                options.command.extend(rest.map(|word| word.to_string_lossy().into_owned()));
            }
            other => return Err(other.unexpected()),
        }
    }
    if options.command.is_empty() && options.token.is_none() {
        let token = std::env::var("GATEWAY_TOKEN").ok().filter(|token| !token.is_empty());
        options.token =
            Some(token.ok_or(
                "no token: give --token-file, set GATEWAY_TOKEN, or name a program to check",
            )?);
    }
    Ok(Parsed::Check(Box::new(options)))
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: Option<f64> = text.parse().ok();
    scale.filter(|scale| (0.01..=1.0).contains(scale)).ok_or("not from 0.01 to 1".to_owned())
}

fn token(path: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("reading the token from {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("the token in {} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}
