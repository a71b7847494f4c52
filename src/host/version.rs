//! The names and numbers under which this binary appears on the wire, in the log and on the command
//! line.

/// The crate's version, as `register` and `--version` show it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The processor, by the name that the release files use.
pub const ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(target_arch = "arm") {
    "armv7"
} else {
    // riscv64 is named so everywhere.
    std::env::consts::ARCH
};

/// The `User-Agent` of the upgrade request.
pub fn user_agent() -> String {
    format!("vmkit-agent/{VERSION} (linux; {ARCH})")
}

/// The commit that the program was built from, 12 digits, if the build knew it.
pub fn build() -> Option<&'static str> {
    option_env!("VMKIT_COMMIT").filter(|commit| !commit.is_empty())
}

/// The output of `--version`. The commit is missing if the build did not know it.
pub fn line() -> String {
    match build() {
        Some(commit) => format!("vmkit-agent {VERSION} ({commit})"),
        None => format!("vmkit-agent {VERSION}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are those of the release files. dist/build/prove asks each of these for its own.
    #[test]
    fn there_is_a_release_for_this_architecture() {
        let build = include_str!("../../dist/build/agent");
        assert!(build.contains(&format!("\n    {ARCH}) echo ")), "{ARCH}");
    }
}
