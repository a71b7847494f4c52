//! The operator's commands.

pub mod doctor;
pub mod input;
pub mod install;
