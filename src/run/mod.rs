//! Waiting and children: the one sleep, the one door for processes, and what the service manager
//! is told.

pub mod command;
pub mod job;
pub mod notify;
pub mod wait;
