//! The agent token: where it came from, to which gateway it belongs, and how it is kept out of sight.
//!
//! The token of a file belongs to the gateway that the same file names. So it is read again only
//! while that is the gateway in use.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::{Config, ENV_FILE, Error, TOKEN, Variables, read_env_file};

/// The agent token. It has no way to be printed but as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Where a token was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenSource {
    /// A file of the service manager's, which only this service can read.
    Credential(PathBuf),
    /// The environment alone.
    Environment,
    /// [`ENV_FILE`], and the gateway's URL with it: read by the agent itself, or by the service
    /// manager, which handed both on in the environment.
    File,
}

impl Config {
    /// The token that is in the place of the refused one by now, if there is another.
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
            TokenSource::File => Some("names another gateway by now"),
            _ if token == self.token.0 => None,
            _ => Some("is not where this token and VMKIT_GATEWAY_URL came from"),
        };
        match problem {
            None => Ok(Some(token.to_owned())),
            Some(problem) => Err(format!(
                "{ENV_FILE} {problem}, so its token was not taken: correct it where it came from, \
                 then restart the agent"
            )),
        }
    }
}

impl Token {
    pub(super) fn check(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        if text.is_empty() {
            Err(Error::new(TOKEN, format!("empty; write the agent token to {ENV_FILE}")))
        } else if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(Token(text.to_owned()))
        } else {
            let problem = "holds what is not printable ASCII; copy the token again";
            Err(Error::new(TOKEN, problem.to_owned()))
        }
    }

    /// `text` without the token, whatever else it holds; for what is shown to strangers. One that
    /// is too short to be a secret stays.
    pub fn blot_out(&self, text: String) -> String {
        if self.0.len() < 8 { text } else { text.replace(&self.0, "***") }
    }

    /// The value of the `Authorization` header, the one place where the token is to be seen.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            TokenSource::Credential(path) => write!(f, "the credential {}", path.display()),
            TokenSource::Environment => f.write_str("the environment"),
            TokenSource::File => f.write_str(ENV_FILE),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("***")
    }
}
