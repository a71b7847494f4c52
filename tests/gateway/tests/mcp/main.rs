//! MCP from outside: the real gateway, an agent of the test's own, and the official client in Python.
#![forbid(unsafe_code)]

mod agent;
mod client;
mod gateway;

mod access;
mod rubbish;
mod tools;

use std::time::Duration;

/// A bound on failure, not an expectation: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
