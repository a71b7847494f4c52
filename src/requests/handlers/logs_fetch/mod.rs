//! `logs_fetch`: lines of a container's log, those that are there or those to come.

mod params;
mod source;
mod messages;
mod fetch;
mod follow;

pub use fetch::{LogsFetch, Rank};
pub use follow::{LogsFollow, Room};
pub use params::Params;
