//! Where the variables are found before they are checked: a credential, the environment, a file.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checked::{Config, UpgradeConfig};
use super::env_file;
use super::error::Error;
use super::files::{ENV_FILE, read_env_file, read_regular};
use super::gateway::Gateway;
use super::token::{Token, TokenSource};
use super::variables::{GATEWAY_URL, TOKEN, Variables};

/// The name of a systemd credential. Its token wins over every other.
pub(super) const CREDENTIAL: &str = "vmkit-agent-token";

/// All that is set, as it was written, and where the token was found.
pub(super) struct Found {
    pub variables: Variables,
    /// The variables that were in [`ENV_FILE`] and not in the environment, without the token.
    pub environment: Vec<(String, String)>,
    pub token: Result<TokenSource, Error>,
}

/// Why the variables are gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To run with them. The file is read only where the environment has no token.
    Start,
    /// To look at the service's configuration. The operator may have exported variables for
    /// another command, so the file is read even if the environment has a token.
    Look,
}

impl Config {
    /// Reads the environment and, where that has no token and there is no credential,
    /// [`ENV_FILE`].
    ///
    /// # Errors
    /// The first variable that can't be used, with what is wrong and what would be right.
    pub fn load() -> Result<Config, Error> {
        let Found { variables, environment, token } = Found::gather(credentials(), Purpose::Start);
        Config::check(&variables, environment, token?)
    }

    /// Whether an agent could be started with `text`, the content of a file like [`ENV_FILE`]. A
    /// missing token is no error: it may be added later, or be in a credential.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn check_file(text: &str) -> Result<(), Error> {
        let mut variables = Variables::of(env_file::parse(text));
        if variables.get(TOKEN).is_none() {
            variables.0.insert(TOKEN.to_owned(), "later".to_owned());
        }
        Config::check(&variables, Vec::new(), TokenSource::File).map(drop)
    }

    /// The token that has replaced the refused token at its source; none if it is still the same.
    ///
    /// The token of [`ENV_FILE`] belongs to the gateway that the file names, so it is taken only
    /// while this is the gateway in use.
    ///
    /// # Errors
    /// Why the token of [`ENV_FILE`] is not for the gateway in use, and what to do.
    pub fn corrected_token(&self) -> Result<Option<Token>, String> {
        let text = match &self.token_source {
            TokenSource::Credential(path) => fs::read_to_string(path).ok(),
            TokenSource::Environment | TokenSource::File => self.token_of_file()?,
        };
        let token = text.and_then(|text| Token::check(&text).ok());
        Ok(token.filter(|token| *token != self.token))
    }

    fn token_of_file(&self) -> Result<Option<String>, String> {
        let file = Variables::of(read_env_file().unwrap_or_default());
        let Some(token) = file.get(TOKEN) else { return Ok(None) };
        let problem = match self.token_source {
            TokenSource::File if self.gateway.is(file.gateway()) => None,
            TokenSource::File => Some("now names another gateway"),
            _ if self.token.is(token) => None,
            _ => Some("is not the source of this token and of VMKIT_GATEWAY_URL"),
        };
        match problem {
            None => Ok(Some(token.to_owned())),
            Some(problem) => Err(format!(
                "{ENV_FILE} {problem}, so its token was not taken: correct the token at its \
                 source, then restart the agent"
            )),
        }
    }
}

impl UpgradeConfig {
    /// As [`Config::load`]; a missing [`ENV_FILE`] is no error.
    ///
    /// # Errors
    /// The first variable that can't be used.
    pub fn load() -> Result<UpgradeConfig, Error> {
        let mut variables = Variables::from_environment();
        if variables.get(TOKEN).is_none() {
            for (name, value) in read_env_file().unwrap_or_default() {
                variables.0.entry(name).or_insert(value);
            }
        }
        UpgradeConfig::check(&variables)
    }

    /// The configuration of the agent that started this process, from the environment alone.
    ///
    /// # Errors
    /// Only errors that the agent itself has had.
    pub fn inherited() -> Result<UpgradeConfig, Error> {
        UpgradeConfig::check(&Variables::from_environment())
    }
}

impl Found {
    /// Gathers the variables. The token and the gateway's URL always come from the same place,
    /// because the token of one gateway must not reach another.
    pub fn gather(credentials: Option<PathBuf>, purpose: Purpose) -> Found {
        let mut variables = Variables::from_environment();
        let credential = credentials.and_then(|folder| credential(&folder).transpose());
        let read = read_env_file();
        let file = Variables::of(read.as_ref().map_or(Vec::new(), Clone::clone));
        let look = purpose == Purpose::Look;
        if look && (credential.is_some() || file.get(TOKEN).is_some()) {
            // The service's token is not for a gateway that this shell names.
            variables.0.remove(TOKEN);
            variables.0.remove(GATEWAY_URL);
        }
        let is_set = variables.get(TOKEN).is_some();
        let mut environment = Vec::new();
        if look || !is_set {
            environment = read.as_ref().map_or(Vec::new(), Clone::clone);
            // The environment wins over the file.
            environment.retain(|(name, _)| {
                variables.get(name).is_none() && !(is_set && name == GATEWAY_URL)
            });
            variables.0.extend(environment.iter().cloned());
            // Children have no use for the token.
            environment.retain(|(name, _)| name != TOKEN);
        }
        let token = match (credential, read) {
            (Some(Ok((path, text))), _) => {
                variables.0.insert(TOKEN.to_owned(), text);
                Ok(TokenSource::Credential(path))
            }
            (Some(Err(error)), _) => Err(error),
            (None, Err(error)) if !is_set => {
                let problem = format!("not set, and {ENV_FILE} can't be read: {error}");
                Err(Error::new(TOKEN, problem + "; write the token to this file"))
            }
            (None, _) => source(&variables, &file, is_set),
        };
        Found { variables, environment, token }
    }
}

/// Whether the token came from the file, and the gateway's URL with it. `is_set`: the token is in
/// the environment, where a service manager that has read the file hands on both.
///
/// # Errors
/// The token is from the file, and the URL is another than the file's.
fn source(variables: &Variables, file: &Variables, is_set: bool) -> Result<TokenSource, Error> {
    let token = variables.get(TOKEN);
    if is_set && token != file.get(TOKEN) {
        return Ok(TokenSource::Environment);
    }
    // A wrong URL is reported by the check.
    let Ok(gateway) = Gateway::check(variables.gateway()) else { return Ok(TokenSource::File) };
    match gateway.is(file.gateway()) {
        true => Ok(TokenSource::File),
        false if is_set || token.is_none() => Ok(TokenSource::Environment),
        false => {
            let files = Gateway::check(file.gateway());
            let files = files.map_or("the wrong URL".to_owned(), |files| files.to_string());
            let problem = format!(
                "{gateway} in the environment differs from {files} in {ENV_FILE}, and the token \
                 in this file is for its own gateway only; unset {GATEWAY_URL}, or set {TOKEN} as well"
            );
            Err(Error::new(GATEWAY_URL, problem))
        }
    }
}

/// The folder in which systemd has put this service's credentials, if it has any.
pub(super) fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The token in `folder`, and its path; none where there is no such credential.
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
            "" => Err(wrong(&"the file is empty; write the token into it")),
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
        let Found { variables, environment, token } =
            Found::gather(Some(folder.clone()), Purpose::Start);
        let config = Config::check(&variables, environment, token.unwrap()).ok().unwrap();
        assert_eq!(config.token.authorization(), "Bearer first");
        assert_eq!(config.token_source, TokenSource::Credential(path.clone()));
        assert_eq!(config.corrected_token(), Ok(None));
        fs::write(&path, "second\n").unwrap();
        let corrected = config.corrected_token();
        fs::remove_dir_all(&folder).unwrap();
        let corrected = corrected.unwrap().unwrap();
        assert_eq!(corrected.authorization(), "Bearer second");
    }
}
