//! The configuration as `doctor` looks at it: every variable is checked, also after a wrong one.

use std::path::PathBuf;

use super::checked::Config;
use super::error::Error;
use super::sources::{CREDENTIAL, Found, Purpose, credentials};
use super::token::TokenSource;
use super::variables::TOKEN;

/// Where systemd keeps the credentials of the service, for a process that systemd has not started.
const OF_THE_SERVICE: &str = "/run/credentials/vmkit-agent.service";

/// What `doctor` sees of the configuration.
pub struct Examined {
    /// The configuration, with the default in the place of each wrong value; none where even the
    /// default is refused.
    pub config: Option<Config>,
    /// Each variable that would have ended the start, and why.
    pub problems: Vec<Error>,
    /// The token is a real one. Otherwise the configuration holds a stand-in.
    pub has_token: bool,
    /// The credential that wins over all other tokens, good or not.
    pub credential: Option<PathBuf>,
}

impl Examined {
    /// As [`Config::load`], but goes on after a wrong variable. A process that was started by hand
    /// looks at the credentials of the service.
    pub fn load() -> Examined {
        let credentials = credentials().unwrap_or_else(|| OF_THE_SERVICE.into());
        let credential = Some(credentials.join(CREDENTIAL)).filter(|path| path.exists());
        let Found { mut variables, environment, token } =
            Found::gather(Some(credentials), Purpose::Look);
        let (source, mut problems) = match token {
            Ok(source) => (source, Vec::new()),
            Err(error) => (TokenSource::Environment, vec![error]),
        };
        if !problems.is_empty() {
            variables.stand_in(TOKEN);
        }
        loop {
            match Config::check(&variables, environment.clone(), source.clone()) {
                Ok(config) => {
                    let has_token = problems.iter().all(|problem| problem.variable() != TOKEN);
                    return Examined { config: Some(config), problems, has_token, credential };
                }
                Err(error) => {
                    let known =
                        problems.iter().any(|problem| problem.variable() == error.variable());
                    variables.stand_in(error.variable());
                    problems.push(error);
                    if known {
                        return Examined { config: None, problems, has_token: false, credential };
                    }
                }
            }
        }
    }
}
