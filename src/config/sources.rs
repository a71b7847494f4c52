//! Where the variables are found before they are checked: a credential, the environment, a file;
//! and the look of `doctor`, which goes on where a start would have ended.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{
    Config, ENV_FILE, Error, GATEWAY, Gateway, TOKEN, TokenSource, Variables, read_env_file,
    read_regular,
};

/// A systemd credential of this name goes before every other place of the token.
const CREDENTIAL: &str = "vmkit-agent-token";
/// Where systemd keeps the credentials of the service, for who was not started by it.
const OF_THE_SERVICE: &str = "/run/credentials/vmkit-agent.service";

/// All that is set, as it was written, and where the token among it came from.
pub(super) struct Found {
    pub variables: Variables,
    /// What of it was in [`ENV_FILE`] and in no environment, without the token.
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

/// For whom the variables are gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To run with them: a token in the environment is all that is needed.
    Start,
    /// To look at the service's. Somebody may have exported variables for another command, so the
    /// file counts also where the environment has a token.
    Look,
}

impl Found {
    /// The token and the gateway's URL are from the same place, whichever that is: the token of
    /// one gateway is a secret to another.
    pub fn gather(credentials: Option<PathBuf>, purpose: Purpose) -> Found {
        let mut variables = Variables::from_environment();
        let credential = credentials.and_then(|folder| credential(&folder).transpose());
        let read = read_env_file();
        let file = Variables::of(read.as_ref().map_or(Vec::new(), Clone::clone));
        let look = purpose == Purpose::Look;
        if look && (credential.is_some() || file.get(TOKEN).is_some()) {
            // The service has a token, which is not for the gateway of this shell.
            variables.0.remove(TOKEN);
            variables.0.remove(GATEWAY);
        }
        let is_set = variables.get(TOKEN).is_some();
        let mut environment = Vec::new();
        if look || !is_set {
            environment = read.as_ref().map_or(Vec::new(), Clone::clone);
            // What is set by hand goes before what is in the file.
            environment
                .retain(|(name, _)| variables.get(name).is_none() && !(is_set && name == GATEWAY));
            variables.0.extend(environment.iter().cloned());
            // Nobody but the agent has use for it.
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
                Err(Error::new(TOKEN, problem + "; write the token there"))
            }
            (None, _) => source(&variables, &file, is_set),
        };
        Found { variables, environment, token }
    }
}

/// Whether the token, which may be in the environment (`is_set`), came from the file, and the
/// gateway's URL with it. A service manager that has read the file hands on both.
///
/// # Errors
/// That the token is the file's and the URL another.
fn source(variables: &Variables, file: &Variables, is_set: bool) -> Result<TokenSource, Error> {
    let token = variables.get(TOKEN);
    if is_set && token != file.get(TOKEN) {
        return Ok(TokenSource::Environment);
    }
    // One that is wrong is the check's to tell.
    let Ok(gateway) = Gateway::check(variables.gateway()) else { return Ok(TokenSource::File) };
    match gateway.is(file.gateway()) {
        true => Ok(TokenSource::File),
        false if is_set || token.is_none() => Ok(TokenSource::Environment),
        false => {
            let files = Gateway::check(file.gateway());
            let files = files.map_or("what is wrong in it".to_owned(), |files| files.to_string());
            let problem = format!(
                "{gateway} of the environment is not {files} of {ENV_FILE}, and the token of that \
                 file is for its own gateway only; unset {GATEWAY}, or set {TOKEN} as well"
            );
            Err(Error::new(GATEWAY, problem))
        }
    }
}

impl Examined {
    /// As [`Config::load`], but every variable is looked at. Started by hand, it looks at the
    /// credentials of the service.
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
