//! The upgrader's process: from a request to the swapped binary.

mod reporter;
mod connect;
mod fetch;
mod signature;
pub mod swap;
mod steps;

pub use reporter::DEADLINE;
pub use steps::{REQUEST, by_hand, clean_up, supervised};
