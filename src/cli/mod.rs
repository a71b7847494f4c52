//! The command line: one parser for all commands. An argument that nobody knows may be a secret
//! (a token that was pasted), so messages name options only, and no value.

mod help;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use crate::operator::install::{Install, TokenFrom, Uninstall};
use crate::upgrade;

/// What this process is to do.
#[derive(Debug)]
pub enum Command {
    /// Be the agent.
    Run,
    Install(Install),
    Doctor {
        json: bool,
    },
    Uninstall(Uninstall),
    Upgrade(Upgrade),
    Version,
    /// Print this text.
    Help(&'static str),
    /// For the agent's own use: resolve a host name, which may block.
    Resolve(String),
    /// For the agent's own use: be its upgrader.
    UpgradeSupervised,
    /// For the agent's own use: remove what an upgrade that was cut short has left.
    UpgradeCleanUp,
    /// For the agent's own use: be the guard of a trial.
    RollBack(RollBack),
}

/// An upgrade that an operator asks for; the values are as they were typed.
#[derive(PartialEq, Eq, Debug)]
pub struct Upgrade {
    /// `-` stands for a line of standard input.
    pub url: String,
    pub checksum: String,
    pub version: String,
}

/// Which trial the guard is for.
#[derive(Debug)]
pub struct RollBack {
    pub state: PathBuf,
    pub checksum: upgrade::Checksum,
    /// None in the timers of version 0.1.0.
    pub installed: Option<PathBuf>,
    pub after: Option<Duration>,
}

/// Reads the arguments, without the program's own name.
///
/// # Errors
/// One line: what is wrong, and which `--help` to read. No value is repeated.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = Arguments::new(arguments);
    let command = match arguments.command()? {
        Word::None => Ok(Command::Run),
        Word::Option("--help") => Ok(Command::Help(help::PROGRAM)),
        Word::Option(_) => Ok(Command::Version),
        Word::Command(command) => match command {
            "run" => arguments.flags(help::RUN, [], |[]| Command::Run),
            "doctor" => {
                arguments.flags(help::DOCTOR, ["--json"], |[json]| Command::Doctor { json })
            }
            "uninstall" => {
                arguments.flags(help::UNINSTALL, ["--purge", "--dry-run"], |[purge, dry_run]| {
                    Command::Uninstall(Uninstall { purge, dry_run })
                })
            }
            "install" => install(&mut arguments),
            "upgrade" => upgrade(&mut arguments),
            "resolve" => arguments.last_word().map(Command::Resolve),
            _ => roll_back(&mut arguments),
        },
    }?;
    arguments.end()?;
    Ok(command)
}

fn install(arguments: &mut Arguments) -> Result<Command, String> {
    let mut options = Install::default();
    while let Some(option) = arguments.option()? {
        match &*option {
            "--token-file" | "--token-stdin" if options.token != TokenFrom::Environment => {
                return Err(arguments.wrong("--token-file or --token-stdin, not both"));
            }
            "--token-file" => options.token = TokenFrom::File(arguments.value(&option)?),
            "--token-stdin" => options.token = TokenFrom::Stdin,
            "--gateway-url" => options.gateway_url = Some(arguments.value(&option)?),
            "--ca-file" => options.ca_file = Some(arguments.value(&option)?),
            "--no-start" => options.no_start = true,
            "--dry-run" => options.dry_run = true,
            "--help" => return Ok(Command::Help(help::INSTALL)),
            "--token" => {
                return Err(arguments.wrong(
                    "no --token: other users of this machine can read arguments; use \
                     VMKIT_AGENT_TOKEN, --token-file or --token-stdin",
                ));
            }
            _ => return Err(arguments.unknown(&option)),
        }
    }
    Ok(Command::Install(options))
}

fn upgrade(arguments: &mut Arguments) -> Result<Command, String> {
    let (mut url, mut checksum, mut version) = (None, None, None);
    while let Some(option) = arguments.option()? {
        match &*option {
            "--url" => url = Some(arguments.value(&option)?),
            "--sha256" => checksum = Some(arguments.value(&option)?),
            "--version" => version = Some(arguments.value(&option)?),
            "--supervised" => return Ok(Command::UpgradeSupervised),
            "--clean-up" => return Ok(Command::UpgradeCleanUp),
            "--help" => return Ok(Command::Help(help::UPGRADE)),
            _ => return Err(arguments.unknown(&option)),
        }
    }
    match (url, checksum, version) {
        (Some(url), Some(checksum), Some(version)) => {
            Ok(Command::Upgrade(Upgrade { url, checksum, version }))
        }
        _ => Err(arguments.wrong("--url, --sha256 and --version are all required")),
    }
}

fn roll_back(arguments: &mut Arguments) -> Result<Command, String> {
    let (mut state, mut trial, mut installed, mut after) = (None, None, None, None);
    while let Some(option) = arguments.option()? {
        let value = arguments.value(&option)?;
        match &*option {
            "--state" => state = Some(PathBuf::from(value)),
            "--trial" => trial = upgrade::Checksum::try_from(value).ok(),
            "--installed" => installed = Some(PathBuf::from(value)),
            "--after" => {
                let seconds = value.parse().map_err(|_| arguments.wrong("--after: no number"))?;
                after = Some(Duration::from_secs(seconds));
            }
            _ => return Err(arguments.unknown(&option)),
        }
    }
    match (state, trial) {
        (Some(state), Some(checksum)) => {
            Ok(Command::RollBack(RollBack { state, checksum, installed, after }))
        }
        _ => Err(arguments.wrong("for the agent's own use")),
    }
}

/// The commands that take arguments.
const COMMANDS: [&str; 7] =
    ["run", "install", "doctor", "uninstall", "upgrade", "resolve", "rollback"];

/// The first argument.
enum Word {
    None,
    Option(&'static str),
    Command(&'static str),
}

struct Arguments {
    parser: Parser,
    /// Empty before the command is known.
    command: &'static str,
    seen: Vec<String>,
}

impl Arguments {
    fn new(arguments: impl IntoIterator<Item = OsString>) -> Arguments {
        Arguments { parser: Parser::from_args(arguments), command: "", seen: Vec::new() }
    }

    fn command(&mut self) -> Result<Word, String> {
        let option = match self.parser.next() {
            Ok(None) => return Ok(Word::None),
            Ok(Some(Value(word))) => {
                let command = COMMANDS.into_iter().find(|command| word == *command);
                self.command = command.ok_or_else(|| self.wrong("unknown command"))?;
                return Ok(Word::Command(self.command));
            }
            Ok(Some(Long("help") | Short('h'))) => return Ok(Word::Option("--help")),
            Ok(Some(Long("version") | Short('V'))) => return Ok(Word::Option("--version")),
            Ok(Some(Long(name))) => format!("--{name}"),
            Ok(Some(Short(_))) | Err(_) => String::new(),
        };
        Err(self.unknown(&option))
    }

    /// The next option, with its dashes.
    fn option(&mut self) -> Result<Option<String>, String> {
        let option = match self.parser.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Long(name))) => format!("--{name}"),
            Ok(Some(Short('h'))) => "--help".to_owned(),
            Ok(Some(Short(_) | Value(_))) => return Err(self.unknown("")),
            // The option before is known, or it would have been refused.
            Err(lexopt::Error::UnexpectedValue { option, .. }) => {
                return Err(self.wrong(&format!("{option} takes no value")));
            }
            Err(_) => return Err(self.unknown("")),
        };
        if self.seen.contains(&option) {
            return Err(self.wrong(&format!("{option} is given twice")));
        }
        self.seen.push(option.clone());
        Ok(Some(option))
    }

    fn value(&mut self, option: &str) -> Result<String, String> {
        let value = self.parser.value().ok().and_then(|value| value.into_string().ok());
        let value = value.filter(|value| !value.is_empty());
        value.ok_or_else(|| self.wrong(&format!("{option} needs a value")))
    }

    /// A command whose options are all without a value.
    fn flags<const N: usize>(
        &mut self,
        help: &'static str,
        names: [&str; N],
        command: impl FnOnce([bool; N]) -> Command,
    ) -> Result<Command, String> {
        let mut given = [false; N];
        while let Some(option) = self.option()? {
            if option == "--help" {
                return Ok(Command::Help(help));
            }
            let Some(index) = names.iter().position(|name| *name == option) else {
                return Err(self.unknown(&option));
            };
            given[index] = true;
        }
        Ok(command(given))
    }

    fn last_word(&mut self) -> Result<String, String> {
        match self.parser.next() {
            Ok(Some(Value(word))) => Ok(word.to_string_lossy().into_owned()),
            _ => Err(self.wrong("for the agent's own use")),
        }
    }

    /// # Errors
    /// That there is one more argument.
    fn end(&mut self) -> Result<(), String> {
        match self.option()? {
            None => Ok(()),
            Some(option) => Err(self.unknown(&option)),
        }
    }

    /// `option` is named, unless it has a value: `--tokenABC=` may be a secret.
    fn unknown(&mut self, option: &str) -> String {
        match self.parser.optional_value() {
            None if !option.is_empty() => {
                self.wrong(&format!("unknown argument {}", option.escape_debug()))
            }
            _ => self.wrong("unknown argument"),
        }
    }

    fn wrong(&self, problem: &str) -> String {
        match self.command {
            "" => format!("{problem}; see vmkit-agent --help"),
            "resolve" | "rollback" => format!("{}: {problem}", self.command),
            command => format!("{command}: {problem}; see vmkit-agent {command} --help"),
        }
    }
}

#[cfg(test)]
mod tests;
