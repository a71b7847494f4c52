//! The operator's commands, and how they speak with the operator. They may use every room below, but
//! not the loop.

pub mod input;
pub mod output;
mod variables;
pub mod install;
pub mod doctor;
