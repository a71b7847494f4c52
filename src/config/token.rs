//! The agent token: where it was found, and how it is kept out of sight.

use std::fmt;
use std::path::PathBuf;

use super::error::Error;
use super::files::ENV_FILE;
use super::variables::TOKEN;

/// The agent token. Every way of printing it shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Where a token was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenSource {
    /// A file that systemd has made for this service; no other service can read it.
    Credential(PathBuf),
    /// The environment alone.
    Environment,
    /// [`ENV_FILE`], which also names the gateway in use. The agent has read the file itself, or
    /// the service manager has, and handed both on in the environment.
    File,
}

impl Token {
    pub(super) fn check(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        if text.is_empty() {
            Err(Error::new(TOKEN, format!("empty; write the agent token to {ENV_FILE}")))
        } else if text.contains('\n') {
            Err(Error::new(TOKEN, "has more than one line; the token alone is needed"))
        } else if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(Token(text.to_owned()))
        } else {
            Err(Error::new(
                TOKEN,
                "has characters that are not printable ASCII; copy the token again",
            ))
        }
    }

    /// `text` with `***` for the token; for what strangers may read. A token of fewer than eight
    /// bytes stays: it is no secret, and might be a part of any word.
    pub fn blot_out(&self, text: String) -> String {
        if self.0.len() < 8 { text } else { text.replace(&self.0, "***") }
    }

    /// Whether `text` is this token.
    pub(super) fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    /// The value of the `Authorization` header, the only place where the token is shown.
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
