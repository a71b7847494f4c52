//! The command `gateway`: reads its arguments and does what they say.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use vmkit_gateway::access::tokens;
use vmkit_gateway::arguments::{self, Parsed};
use vmkit_gateway::run::run;

fn main() -> ExitCode {
    let outcome = match arguments::parse() {
        Ok(Parsed::Help) => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Ok(Parsed::Token { data, command }) => {
            tokens::run(&data, command).map(|text| print!("{text}"))
        }
        Ok(Parsed::Run(arguments)) => run(*arguments),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
