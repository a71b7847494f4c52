//! The operator's commands, and how they speak with the operator. They know every room below but the loop.

pub mod input;
pub mod output;
mod variables;
pub mod install;
pub mod doctor;
