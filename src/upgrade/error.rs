//! Why an upgrade did not come to be: the code, the reason, and what of it the gateway may hear.

use std::fmt;

use super::request::DownloadUrl;
use crate::wire::rpc;

/// Why an upgrade did not come to be: one line that an operator can act on. Shown with the whole
/// reason, which is for this machine: its log, or the person at its terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: i32,
    message: String,
    /// What the gateway hears instead; none where it may have the whole reason.
    pub told: Option<String>,
}

impl Error {
    /// An error of another process, as its report had it.
    pub fn new(code: i32, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), told: None }
    }

    pub fn busy(message: impl Into<String>) -> Error {
        Error::new(rpc::BUSY, message)
    }

    pub fn download(message: impl Into<String>) -> Error {
        Error::new(rpc::DOWNLOAD_FAILED, message)
    }

    pub fn mismatch(message: impl Into<String>) -> Error {
        Error::new(rpc::CHECKSUM_MISMATCH, message)
    }

    pub fn unfit(message: impl Into<String>) -> Error {
        Error::new(rpc::UNFIT, message)
    }

    pub fn not_replaced(message: impl Into<String>) -> Error {
        Error::new(rpc::NOT_REPLACED, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Error {
        Error::new(rpc::FORBIDDEN, message)
    }

    /// The same with the reason for this machine alone.
    pub fn sealed(self, url: &DownloadUrl) -> Error {
        let told = format!("the download from {url} failed; the agent's log has the reason");
        Error { told: Some(told), ..self }
    }

    /// The same as part of another failure, whose words begin with `preface`.
    pub fn within(self, code: i32, preface: &str) -> Error {
        let message = format!("{preface}: {}", self.message);
        Error { code, message, told: self.told.map(|told| format!("{preface}: {told}")) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for rpc::Error {
    fn from(error: Error) -> rpc::Error {
        rpc::Error::new(error.code, error.told.unwrap_or(error.message))
    }
}
