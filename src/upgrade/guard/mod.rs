//! Who keeps watch over a probation, because the new binary may not even start.

pub mod after_boot;
mod failed_starts;
mod revive;
mod watch;

pub use watch::{
    Order, arm, call_off, call_off_now, is_systemds, roll_back_command, run, stop_command,
};
