//! The machines' image, made by `tests/vm/image` where it is not there yet.

use std::process::Command;
use std::sync::OnceLock;

use super::{cache, shell};

/// Its name, for docker.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/image"));
        script.arg(cache());
        let output = shell::run_command(script, b"");
        assert!(output.ok, "{}", output.stderr);
        output.stdout
    })
}
