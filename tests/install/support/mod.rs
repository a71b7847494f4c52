//! What these tests stand on: folders of their own, a release server, a PATH with nothing on it
//! but what a test puts there, and a root in which an installation can do no harm.

mod cell;
mod release;
mod script;
mod terminal;

use std::path::PathBuf;
use std::process::{Command, Output};

pub use cell::Cell;
pub use release::{Release, sums};
pub use script::{SHELLS, Script};
pub use terminal::Terminal;
pub use vmkit_test_support::{
    RELEASE_FILE as NAME, Scratch, TOKEN, agent_program, architecture, said, write_script,
};

/// A file of the repository's.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a command that does not take long; `package` is where to get its program.
#[track_caller]
pub fn run(command: &mut Command, package: &str) -> Output {
    command.output().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy();
        panic!("{program}: {error}; as root on a Debian: apt-get install {package}")
    })
}
