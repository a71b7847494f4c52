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

impl Error {
    pub fn new(code: Code, message: String) -> Error {
        Error { code, message }
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
