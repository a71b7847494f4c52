//! Where the log goes, and what is kept out of it.
//!
//! To the journal, if standard error is connected to it; to standard error, if that is a terminal or
//! a pipe; else to syslog, and without a syslog daemon to standard error after all. A regular file
//! does not win over syslog: OpenRC gives its services one.
//!
//! The agent never waits for its log: a line that the journal, syslog or standard error does not take
//! at once is lost. Only the agent's own lines are logged, because a library's could hold the token.
//! The token is blotted out of the agent's lines, which repeat what a gateway says.
//!
//! A gateway must not fill the disk with log lines. A line that a gateway can cause has the target
//! [`PEER`] or [`SESSION`], and only so many of these are written ([`limit`]); debug lines count too.
//! The number of lines left out is logged before the next line of any kind after the 10 s, and always
//! before a line that is not counted, such as the last one: no timer wakes the agent for it. Lines
//! about an upgrade from the swap on, and about what the agent itself could not do, are not counted.

mod limit;
mod logger;
mod sink;
mod syslog_daemon;

pub use logger::{PEER, SESSION, hide, start};
pub use sink::error_mark;
