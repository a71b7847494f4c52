//! Why an upgrade failed: the kind, the reason, and how much of the reason the gateway may hear.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::request::DownloadUrl;
use crate::wire::rpc;

/// The longest message, in characters. It may repeat what a server said.
const LIMIT: usize = 1000;

/// Why an upgrade failed. Shown as one line that an operator can act on, with the whole reason:
/// for this machine's log, or for the person at its terminal.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Error {
    pub kind: Kind,
    message: String,
    /// What the gateway hears instead of the message. None where it may hear the message.
    told: Option<String>,
}

/// What went wrong. Each kind has a code of its own on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another upgrade is under way, or a version is on trial.
    Busy,
    /// The file can't be downloaded.
    Download,
    /// The file is not the file that was asked for, or not signed.
    Mismatch,
    /// The binary does not run here, is another version, or was rolled back before.
    Unfit,
    /// The installed binary can't be replaced.
    NotReplaced,
    /// The owner of this machine does not allow the upgrade.
    Forbidden,
    TookTooLong,
    /// The upgrader itself can't go on.
    Internal,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        let message: String = message.into();
        let is_break = |c: char| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
        let message = message.chars().take(LIMIT).map(is_break).collect();
        Error { kind, message, told: None }
    }

    pub fn busy(message: impl Into<String>) -> Error {
        Error::new(Kind::Busy, message)
    }

    pub fn download(message: impl Into<String>) -> Error {
        Error::new(Kind::Download, message)
    }

    pub fn mismatch(message: impl Into<String>) -> Error {
        Error::new(Kind::Mismatch, message)
    }

    pub fn unfit(message: impl Into<String>) -> Error {
        Error::new(Kind::Unfit, message)
    }

    pub fn not_replaced(message: impl Into<String>) -> Error {
        Error::new(Kind::NotReplaced, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Error {
        Error::new(Kind::Forbidden, message)
    }

    pub fn took_too_long(message: impl Into<String>) -> Error {
        Error::new(Kind::TookTooLong, message)
    }

    pub fn internal(error: impl fmt::Display) -> Error {
        Error::new(Kind::Internal, error.to_string())
    }

    /// The same error with a reason that only this machine may see.
    pub fn sealed(self, url: &DownloadUrl) -> Error {
        let told = format!("the download from {url} failed; the agent's log has the reason");
        Error { told: Some(told), ..self }
    }

    /// The same reason as part of another failure, whose words begin with `preface`.
    pub fn within(self, kind: Kind, preface: &str) -> Error {
        let told = self.told.map(|told| format!("{preface}: {told}"));
        Error { told, ..Error::new(kind, format!("{preface}: {}", self.message)) }
    }

    /// The code of this failure on the wire.
    pub fn code(&self) -> rpc::Code {
        match self.kind {
            Kind::Busy => rpc::Code::Busy,
            Kind::Download => rpc::Code::DownloadFailed,
            Kind::Mismatch => rpc::Code::ChecksumMismatch,
            Kind::Unfit => rpc::Code::Unfit,
            Kind::NotReplaced => rpc::Code::NotReplaced,
            Kind::Forbidden => rpc::Code::Forbidden,
            Kind::TookTooLong => rpc::Code::TookTooLong,
            Kind::Internal => rpc::Code::InternalError,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for rpc::Error {
    fn from(error: Error) -> rpc::Error {
        rpc::Error::new(error.code(), error.told.unwrap_or(error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stays_one_line_of_bounded_length() {
        let error = Error::unfit(format!("a\nb\r\tc{}", "é".repeat(2 * LIMIT)));
        let shown = error.to_string();
        assert!(shown.starts_with("a b  cé") && shown.chars().count() == LIMIT, "{shown}");
    }

    #[test]
    fn the_gateway_hears_what_it_may() {
        let url = DownloadUrl::check("https://h/f").unwrap();
        let open = Error::download("no route");
        let sealed = open.clone().sealed(&url).within(Kind::Mismatch, "no signature");
        assert_eq!(sealed.to_string(), "no signature: no route");
        let told = rpc::Error::from(sealed).to_string();
        assert!(told.starts_with("no signature: the download from https://h/f failed"), "{told}");
        assert!(told.contains("-32011") && !told.contains("no route"), "{told}");
        assert_eq!(rpc::Error::from(open).to_string(), "no route (-32010)");
    }
}
