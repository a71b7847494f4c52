//! Where the variables are found before they are checked: a credential, the environment, a file;
//! and the look of `doctor`, which goes on where a start would have ended.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Config, ENV_FILE, Error, TOKEN, TokenSource, Variables, read_env_file, read_regular};

/// A systemd credential of this name goes before every other place of the token.
const CREDENTIAL: &str = "vmkit-agent-token";
/// Where systemd keeps the credentials of the service, for who was not started by it.
const OF_THE_SERVICE: &str = "/run/credentials/vmkit-agent.service";

/// All that is set, as it was written, and where the token among it came from.
pub(super) struct Found {
    pub variables: Variables,
    /// What of it was in [`ENV_FILE`] and in no environment.
    pub environment: Vec<(String, String)>,
    pub token: Result<TokenSource, Error>,
}

/// What `doctor` sees of the configuration.
pub struct Examined {
    /// The default stands in for what is wrong; none where that will not do either.
    pub config: Option<Config>,
    /// Each variable that would have ended the start, and why.
    pub problems: Vec<Error>,
    /// Without it, the configuration's token is none.
    pub has_token: bool,
    /// The credential that goes before all else, good or not.
    pub credential: Option<PathBuf>,
}

impl Found {
    /// `always`: the file counts also where the environment has a token, which somebody may have
    /// exported for another command.
    pub fn gather(credentials: Option<PathBuf>, always: bool) -> Found {
        let mut variables = Variables::from_environment();
        let mut environment = Vec::new();
        let mut token = Ok(TokenSource::Environment);
        let is_set = variables.get(TOKEN).is_some();
        if always || !is_set {
            match read_env_file() {
                Ok(assignments) => {
                    environment = assignments;
                    // What is set by hand goes before what is in the file.
                    environment.retain(|(name, _)| variables.get(name).is_none());
                    variables.0.extend(environment.iter().cloned());
                    if !is_set {
                        token = Ok(TokenSource::File);
                    }
                }
                Err(_) if is_set => {}
                Err(error) => {
                    let problem = format!("not set, and {ENV_FILE} can't be read: {error}");
                    token = Err(Error::new(TOKEN, problem + "; write the token there"));
                }
            }
        }
        match credentials.and_then(|folder| credential(&folder).transpose()) {
            None => {}
            Some(Err(error)) => token = Err(error),
            Some(Ok((path, text))) => {
                variables.0.insert(TOKEN.to_owned(), text);
                token = Ok(TokenSource::Credential(path));
            }
        }
        Found { variables, environment, token }
    }
}

impl Examined {
    /// As [`Config::load`], but every variable is looked at. Started by hand, it looks at the
    /// credentials of the service.
    pub fn load() -> Examined {
        let credentials = credentials().unwrap_or_else(|| OF_THE_SERVICE.into());
        let credential = Some(credentials.join(CREDENTIAL)).filter(|path| path.exists());
        let Found { mut variables, environment, token } = Found::gather(Some(credentials), true);
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
                    let has_token = problems.iter().all(|problem| problem.variable != TOKEN);
                    return Examined { config: Some(config), problems, has_token, credential };
                }
                Err(error) => {
                    let known = problems.iter().any(|problem| problem.variable == error.variable);
                    variables.stand_in(error.variable);
                    problems.push(error);
                    if known {
                        return Examined { config: None, problems, has_token: false, credential };
                    }
                }
            }
        }
    }
}

impl Variables {
    /// Puts what is harmless in the place of a value that is wrong.
    fn stand_in(&mut self, name: &str) {
        self.0.remove(name);
        self.0.remove(&name.to_ascii_lowercase());
        if name == TOKEN {
            self.0.insert(name.to_owned(), "none".to_owned());
        }
    }
}

/// Where systemd has put this service's credentials, if it has any.
pub(super) fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The token that `folder` has, and its path; none where there is no such credential.
fn credential(folder: &Path) -> Result<Option<(PathBuf, String)>, Error> {
    let path = folder.join(CREDENTIAL);
    let wrong = |problem: &dyn fmt::Display| {
        let problem = format!("the credential {}: {problem}", path.display());
        Error::new(TOKEN, problem)
    };
    match read_regular(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error)),
        Ok(bytes) => match String::from_utf8_lossy(&bytes).trim() {
            "" => Err(wrong(&"it is empty")),
            token => Ok(Some((path.clone(), token.to_owned()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_credential_is_a_file_without_its_last_line_feed() {
        let folder = std::env::temp_dir().join(format!("vmkit-test-cred-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(credential(&folder).unwrap(), None);
        let path = folder.join("vmkit-agent-token");
        fs::write(&path, "s3cr3t\n").unwrap();
        let found = credential(&folder).unwrap().unwrap();
        fs::write(&path, "\n").unwrap();
        let empty = credential(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, (path, "s3cr3t".to_owned()));
        assert!(empty.starts_with("VMKIT_AGENT_TOKEN: the credential "), "{empty}");
        assert!(credential(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_credential_goes_before_all_else_and_is_read_again() {
        let folder = std::env::temp_dir().join(format!("vmkit-test-cred2-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("vmkit-agent-token");
        fs::write(&path, "first").unwrap();
        let Found { variables, environment, token } = Found::gather(Some(folder.clone()), false);
        let mut config = Config::check(&variables, environment, token.unwrap()).ok().unwrap();
        assert_eq!(config.token.authorization(), "Bearer first");
        assert_eq!(config.token_source, TokenSource::Credential(path.clone()));
        assert_eq!(config.reload_token(), None);
        fs::write(&path, "second\n").unwrap();
        let reloaded = config.reload_token();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(reloaded, Some(TokenSource::Credential(path)));
        assert_eq!(config.token.authorization(), "Bearer second");
    }
}
