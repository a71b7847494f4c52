//! New versions to upgrade to.

use std::fs;
use std::process::{self, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::agent_program;

/// The file that this machine needs of a release.
pub const RELEASE_FILE: &str = if cfg!(target_arch = "aarch64") {
    "vmkit-agent-linux-arm64"
} else if cfg!(target_arch = "arm") {
    "vmkit-agent-linux-armv7"
} else if cfg!(target_arch = "riscv64") {
    "vmkit-agent-linux-riscv64"
} else {
    "vmkit-agent-linux-amd64"
};

/// This machine's processor, by the name that release files and the agent use.
pub fn architecture() -> &'static str {
    RELEASE_FILE.strip_prefix("vmkit-agent-linux-").expect("they all begin so")
}

/// The version in the agent's manifest.
pub static OWN_VERSION: LazyLock<&str> = LazyLock::new(|| {
    let (_, version) = MANIFEST.split_once("\nversion = \"").expect("a package has a version");
    version.split('"').next().expect("split yields one part")
});
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// A binary that calls itself this version.
#[derive(Clone)]
pub struct Release {
    pub version: String,
    pub bytes: Vec<u8>,
}

impl Release {
    /// The agent under test as another version, which no other test uses: downloads of the same
    /// version would share their place in `/tmp`.
    ///
    /// The version is a string in the binary like any other. Writing another over it is a hundred
    /// times faster than a build, which `tests/vm` does.
    pub fn next() -> Release {
        Release::calling_itself(fresh_version())
    }

    /// The same with a version that is lower than the agent's own.
    pub fn lower() -> Release {
        let version = fresh_version();
        // A pre-release of 0: there is nothing lower.
        Release::calling_itself(format!(
            "0-{}",
            &version[version.len() - (OWN_VERSION.len() - 2)..]
        ))
    }

    fn calling_itself(version: String) -> Release {
        assert_eq!(OWN_VERSION.len(), version.len());
        let mut bytes = fs::read(agent_program()).expect("the agent was built");
        let own = OWN_VERSION.as_bytes();
        let places = bytes.windows(own.len()).enumerate().filter(|(_, text)| *text == own);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        for place in places {
            bytes[place..place + version.len()].copy_from_slice(version.as_bytes());
        }
        Release { version, bytes }
    }

    /// A shell script that does this when it is run as the agent.
    pub fn script(run: &str) -> Release {
        let version = fresh_version();
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = --version ] && echo 'vmkit-agent {version}' && exit\n{run}\n"
        );
        Release { version, bytes: script.into_bytes() }
    }

    /// A file that is offered under a fresh version, and is no release.
    pub fn unfit(bytes: impl Into<Vec<u8>>) -> Release {
        Release { version: fresh_version(), bytes: bytes.into() }
    }

    pub fn sha256(&self) -> String {
        use std::io::Write;
        let mut sum = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("coreutils are there");
        let mut stdin = sum.stdin.take().expect("a pipe");
        stdin.write_all(&self.bytes).expect("it reads all");
        drop(stdin);
        let said = sum.wait_with_output().expect("our child").stdout;
        String::from_utf8_lossy(&said)[..64].to_owned()
    }
}

/// Five letters and digits, as our own has: process and count.
fn fresh_version() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut number = process::id() % 30_000 * 1_000 + COUNT.fetch_add(1, Ordering::Relaxed) % 1_000;
    let mut version = String::new();
    for _ in 0..OWN_VERSION.len() {
        let digit = char::from_digit(number % 36, 36).expect("less than the base");
        version.insert(0, digit);
        number /= 36;
    }
    version
}
