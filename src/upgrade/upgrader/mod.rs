//! The upgrader's process, `vmkit-agent upgrade`: does everything that is slow, up to the swap.

mod reporter;
mod route;
mod connect;
mod fetch;
mod signature;
pub mod swap;
mod steps;
mod clean_up;

pub use clean_up::clean_up;
pub use reporter::DEADLINE;
pub use steps::{REQUEST, by_hand, supervised};
