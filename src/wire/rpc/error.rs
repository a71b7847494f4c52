//! The error of a response, and its codes.

use std::fmt;

use serde::Serialize;

/// An error to answer with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Error {
    pub code: Code,
    /// One line that an operator can act on.
    pub message: String,
}

/// What kind of error it is, by the numbers of JSON-RPC and of this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Code {
    ParseError = -32700,
    InvalidRequest = -32600,
    MethodNotFound = -32601,
    InvalidParams = -32602,
    InternalError = -32603,
    NoSuchContainer = -32001,
    DockerUnusable = -32002,
    TookTooLong = -32003,
    Busy = -32004,
    DownloadFailed = -32010,
    ChecksumMismatch = -32011,
    /// The new binary does not run here, is another version, or was rolled back before.
    Unfit = -32012,
    NotReplaced = -32013,
    /// This machine's owner does not allow it.
    Forbidden = -32014,
}

// The numbers, for the rooms that have not moved on to `Code` yet.
pub const INVALID_PARAMS: i32 = Code::InvalidParams.number();
pub const INTERNAL_ERROR: i32 = Code::InternalError.number();
pub const NO_SUCH_CONTAINER: i32 = Code::NoSuchContainer.number();
pub const DOCKER_UNUSABLE: i32 = Code::DockerUnusable.number();
pub const TOOK_TOO_LONG: i32 = Code::TookTooLong.number();
pub const BUSY: i32 = Code::Busy.number();
pub const DOWNLOAD_FAILED: i32 = Code::DownloadFailed.number();
pub const CHECKSUM_MISMATCH: i32 = Code::ChecksumMismatch.number();
pub const UNFIT: i32 = Code::Unfit.number();
pub const NOT_REPLACED: i32 = Code::NotReplaced.number();
pub const FORBIDDEN: i32 = Code::Forbidden.number();

impl Error {
    pub fn new(code: impl Into<Code>, message: String) -> Error {
        Error { code: code.into(), message }
    }

    pub fn unknown_method(method: &str) -> Error {
        let shown: String = method.chars().take(64).collect();
        Error::new(Code::MethodNotFound, format!("unknown method {shown:?}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.number())
    }
}

impl Code {
    pub const fn number(self) -> i32 {
        self as i32
    }
}

// Also for the rooms that have not moved on to `Code` yet.
impl PartialEq<i32> for Code {
    fn eq(&self, number: &i32) -> bool {
        self.number() == *number
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.number())
    }
}

impl From<i32> for Code {
    /// The code of a number that another process of the agent has told.
    fn from(number: i32) -> Code {
        use Code::*;
        let all = [
            ParseError,
            InvalidRequest,
            MethodNotFound,
            InvalidParams,
            InternalError,
            NoSuchContainer,
            DockerUnusable,
            TookTooLong,
            Busy,
            DownloadFailed,
            ChecksumMismatch,
            Unfit,
            NotReplaced,
            Forbidden,
        ];
        all.into_iter().find(|code| code.number() == number).unwrap_or(InternalError)
    }
}
