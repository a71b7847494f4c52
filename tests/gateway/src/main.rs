//! The command `gateway`: reads its arguments and does what they say.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use vmkit_gateway::access::tokens;
use vmkit_gateway::arguments::{self, Parsed};
use vmkit_gateway::check;
use vmkit_gateway::run::run;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == check::docker::COMMAND) {
        return check::docker::run(words);
    }
    let outcome = match arguments::parse() {
        Ok(Parsed::Help) => {
            print!("{}", arguments::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Parsed::Check(parsed)) => check::command(parsed),
        Ok(Parsed::Token { data, command }) => tokens::run(&data, command).map(|text| {
            print!("{text}");
            ExitCode::SUCCESS
        }),
        Ok(Parsed::Run(arguments)) => run(*arguments).map(|()| ExitCode::SUCCESS),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gateway: {error}");
            // Of a kit that can't run, 1 would say that the agent is wrong.
            let is_check = std::env::args_os().nth(1).is_some_and(|word| word == "check");
            ExitCode::from(if is_check { 2 } else { 1 })
        }
    }
}
