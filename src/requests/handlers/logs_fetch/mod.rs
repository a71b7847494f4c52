//! `logs_fetch`: lines of a container's log.

mod params;
mod source;
mod messages;
mod fetch;

pub use fetch::{LogsFetch, Rank};
