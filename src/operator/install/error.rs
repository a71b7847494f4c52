//! Why an installation or its removal has failed. Each error is one line for the operator.

use std::fmt;

use crate::config;

#[derive(Debug)]
pub enum Error {
    /// The agent could not be started with these values.
    Config(config::Error),
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Failed(problem) => f.write_str(problem),
            Error::Config(error) => error.fmt(f),
        }
    }
}
