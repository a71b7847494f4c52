//! The guard of a trial: a process of the previous binary, because the new one may not even start.

mod systemd;
pub mod after_boot;
mod arming;
mod failed_starts;
mod revive;
mod command;

pub use arming::{arm, call_off, call_off_now, is_systemds, stop_command};
pub use command::{Order, roll_back_command};
pub use systemd::{installed_unit, run};
