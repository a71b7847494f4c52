//! The manual page, which is put where `man` looks for it.

use std::path::{Path, PathBuf};

use crate::host::init::Definition;

pub const PAGE: Definition = Definition {
    path: "/usr/local/share/man/man8/vmkit-agent.8",
    text: include_str!("../../../dist/vmkit-agent.8"),
    mode: 0o644,
};

/// The folders that an installation may have made for the page, the innermost first.
pub fn folders() -> impl Iterator<Item = PathBuf> {
    Path::new(PAGE.path).ancestors().skip(1).take(2).map(Path::to_owned)
}
