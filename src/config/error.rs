//! What is wrong with a variable.

use std::fmt;

/// A variable that can't be used; the program ends with EX_CONFIG.
#[derive(Debug)]
pub struct Error {
    variable: &'static str,
    problem: String,
}

impl Error {
    pub(super) fn new(variable: &'static str, problem: impl Into<String>) -> Error {
        Error { variable, problem: problem.into() }
    }

    /// The variable's name.
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}
