//! What these tests stand on: folders of their own, a release server, a PATH with nothing on it
//! but what a test puts there, and a root in which an installation can do no harm.

mod cell;
mod release;
#[path = "../../agent/support/scratch.rs"]
mod scratch;
mod script;
mod terminal;

use std::path::PathBuf;
use std::process::{Command, Output};

pub use cell::{Cell, agent_program};
pub use release::{NAME, Release, sums};
pub use scratch::Scratch;
pub use script::{SHELLS, Script};
pub use terminal::Terminal;

/// No argument and no output may ever hold this.
pub const TOKEN: &str = "vmkit-test-token-3f9ac1";

/// A file of the repository's.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a command did; it must not take long, and must be installed.
#[track_caller]
pub fn run(command: &mut Command, package: &str) -> Output {
    command.output().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy();
        panic!("{program}: {error}; as root on a Debian: apt-get install {package}")
    })
}

/// All that a command has said.
pub fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
