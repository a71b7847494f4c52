//! A line of a container's log, and which of the two pipes it came by.

use crate::host::timestamp::Timestamp;

/// A longer text is cut. Bytes of UTF-8.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// One line as the container wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: Timestamp,
    /// The same time as docker wrote it, RFC 3339.
    pub ts: &'a str,
    /// Without the newline and the carriage returns before it. Bytes that were not UTF-8 are U+FFFD.
    pub text: &'a str,
    /// Whether the text was cut at [`TEXT_LIMIT`].
    pub cut: bool,
}

/// Which pipe a line came by. Of two lines of the same time, standard output's goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Stdout,
    Stderr,
}
