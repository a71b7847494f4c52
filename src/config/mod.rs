//! The configuration: variables as they were written, checked once, and from then on only as the
//! types below. Nothing unchecked leaves this room.
//!
//! The way of a value: `files` and the environment → [`variables`] → `sources` (which of several
//! places wins) → `checked`. `examined` is the same way for `doctor`, which does not stop at an error.

pub mod variables;
mod error;
pub mod env_file;
mod files;
mod token;
mod gateway;
mod labels;
mod no_proxy;
mod proxy;
mod release_key;
pub mod trust;
mod checked;
mod sources;
mod examined;

pub use checked::{Config, UpgradeConfig};
pub use error::Error;
pub use examined::Examined;
pub use files::{ENV_FILE, env_file_text};
pub use labels::Labels;
pub use release_key::ReleaseKey;
pub use token::{Token, TokenSource};

#[cfg(test)]
mod tests;
