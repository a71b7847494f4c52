//! `vmkit-agent install` and `uninstall`: this very program as a service of the machine.

mod options;
mod error;
mod alone;
mod found;
mod manual;
mod settings;
mod step;
mod watch;
mod setup;
mod removal;

pub use error::Error;
pub use options::{Install, TokenFrom, Uninstall};
pub use removal::uninstall;
pub use setup::install;
