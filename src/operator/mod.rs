//! The operator's commands.

pub mod doctor;
pub mod install;
