//! Replacing our own binary so that no VM is left without an agent.
//!
//! One process, the upgrader ([`upgrade`]), does all that is slow and everything up to the swap;
//! the agent starts it, reads its [`report`] and restarts the service. From the swap on a
//! [`probation`] runs: the new binary is confirmed by the gateway's acknowledgement of its
//! `register`, or rolled back, by itself at its fourth start or by the [`guard`], which is neither
//! of the two. What has to outlive a crash is in the [`state`], on disk.

pub mod request;
mod order;
mod error;
mod paths;
pub mod report;
pub mod state;
pub mod store;
mod roll_back;
mod guard;
mod leftovers;
pub mod probation;
mod upgrader;

pub use error::Error;
pub use guard::{Order, roll_back_command, stop_command};
pub use leftovers::{leftovers, memories};
pub use paths::{installed, installed_from_previous, previous};
pub use request::{Checksum, Request, Version};
pub use upgrader::{DEADLINE, REQUEST, by_hand, clean_up, supervised, swap};

#[cfg(test)]
mod tests;
