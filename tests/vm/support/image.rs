//! The machines' images, made by `tests/vm/image` where they are not there yet.

use std::process::Command;
use std::sync::OnceLock;

use super::{Kind, cache, shell};

/// An image's name, for docker.
pub fn name(kind: Kind) -> &'static str {
    static SYSTEMD: OnceLock<String> = OnceLock::new();
    static OPENRC: OnceLock<String> = OnceLock::new();
    match kind {
        Kind::Systemd => SYSTEMD.get_or_init(|| make("systemd")),
        Kind::OpenRc => OPENRC.get_or_init(|| make("openrc")),
    }
}

fn make(kind: &str) -> String {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/image"));
    script.arg(kind).arg(cache());
    let output = shell::run_command(script, b"");
    assert!(output.ok, "{}", output.stderr);
    output.stdout
}
