//! Why a call failed, in a line for a model and its user: what failed, and what to do next.

use std::fmt;

use crate::access::scope::Scope;
use crate::agents::calls::CallError;
use crate::agents::register::InstanceId;

/// An agent's own words may be long.
const LIMIT: usize = 500;
const DOCKER_HAS_NO_SUCH_CONTAINER: i64 = -32001;

#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// One line, whatever is in it.
    pub fn new(text: impl Into<String>) -> Failure {
        let text: String = text.into();
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Failure(text.chars().take(LIMIT).map(printable).collect())
    }

    pub fn arguments(error: &serde_json::Error) -> Failure {
        Failure::new(format!("the arguments are wrong: {error}; see the tool's input schema"))
    }

    pub fn lacks(scope: Scope) -> Failure {
        let scope = scope.name();
        Failure::new(format!("this API key lacks the scope {scope}; the user needs another key"))
    }

    pub fn no_instance(id: &InstanceId) -> Failure {
        Failure::new(format!("no instance has the id {id}; list_instances shows the ids"))
    }

    pub fn busy() -> Failure {
        Failure::new("too many fetches of logs at once; try again in a few seconds")
    }

    pub fn ended() -> Failure {
        Failure::new("the API key was revoked, or the gateway ends; the user needs a valid key")
    }

    pub fn of(error: &CallError, id: &InstanceId) -> Failure {
        let next = match error {
            CallError::Unknown => return Failure::no_instance(id),
            CallError::NotConnected => "get_instance tells since when, and why",
            CallError::Agent(error) if error.code == DOCKER_HAS_NO_SUCH_CONTAINER => {
                "get_instance shows the containers in metrics.containers"
            }
            CallError::Agent(_) => "get_instance shows what the agent can read",
            CallError::Late => "try again with fewer lines",
            CallError::SessionEnded => "try again when the agent is connected",
            CallError::Nonsense(_) | CallError::TooOld { .. } => "the user may upgrade the agent",
            CallError::Busy
            | CallError::TooManyFollowers
            | CallError::TooManySearches
            | CallError::UpgradeGoingOn(_) => "try again later",
        };
        Failure::new(format!("{id}: {error}; {next}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_bounded_line() {
        let failure = Failure::new(format!("a\nb\u{1b}[2J{}", "x".repeat(10_000))).to_string();
        assert!(failure.starts_with("a b [2Jx"), "{failure}");
        assert_eq!(failure.len(), LIMIT);
    }
}
