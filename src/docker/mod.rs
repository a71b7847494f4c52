//! The docker command line: arguments out, output in, errors told apart. Starts no process and
//! reads no pipe; the handlers run docker and bring its output here.

mod commands;
mod containers;
mod failure;
pub mod log_lines;

pub use commands::{LogsRange, is_container_name, logs_arguments};
pub use containers::{
    Container, Health, Inspected, Inspection, Listed, Listing, inspect_arguments, ps_arguments,
};
pub use failure::{Failure, only_vanished};

#[cfg(test)]
mod tests;
