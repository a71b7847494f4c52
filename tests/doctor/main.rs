//! `vmkit-agent doctor` on machines that are broken on purpose, each in a root of its own: the first
//! FAIL names the true cause, people and programs read the same, and no secret is in either.

use vmkit_test_support as support;

mod gateway;
mod machine;

mod configuration;
mod token_of_file;
mod network;
mod answers;
mod docker;
mod service;
mod disk;
mod upgrades;
