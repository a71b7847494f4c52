//! Agents to upgrade from and to: real ones, built from this source with different versions, and
//! broken ones, which are real programs too.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use super::{cache, scratch, shell};

#[derive(Clone, Debug)]
pub struct Release {
    pub version: String,
    pub program: PathBuf,
    pub sha256: String,
}

impl Release {
    /// The agent under test: `VMKIT_AGENT_BIN`, where that is set, as `make test` does.
    pub fn current() -> Release {
        static CURRENT: OnceLock<Release> = OnceLock::new();
        let make = || match std::env::var_os("VMKIT_AGENT_BIN") {
            Some(program) => Release::of(program.into()),
            None => Release::of(build(env!("CARGO_PKG_VERSION"))),
        };
        CURRENT.get_or_init(make).clone()
    }

    /// The same source under the next version.
    pub fn next() -> Release {
        static NEXT: OnceLock<Release> = OnceLock::new();
        let make = || {
            let mut parts = env!("CARGO_PKG_VERSION").split('.');
            let major = parts.next().unwrap_or_default();
            let minor: u32 = parts.next().and_then(|part| part.parse().ok()).unwrap_or_default();
            Release::of(build(&format!("{major}.{}.0", minor + 1)))
        };
        NEXT.get_or_init(make).clone()
    }

    /// A shell script that calls itself this version, and does this when it is run as the agent.
    pub fn script(version: &str, run: &str) -> Release {
        let program = scratch().join("vmkit-agent");
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = --version ] && echo 'vmkit-agent {version}' && exit\n{run}\n"
        );
        write_program(&program, script.as_bytes());
        Release::of(program)
    }

    /// Something that is served under this version, and that nobody has tried.
    pub fn unfit(version: &str, content: &[u8]) -> Release {
        let program = scratch().join("vmkit-agent");
        write_program(&program, content);
        let sha256 = sha256(&program);
        Release { version: version.to_owned(), program, sha256 }
    }

    fn of(program: PathBuf) -> Release {
        let version = version_of(&program);
        let sha256 = sha256(&program);
        Release { version, program, sha256 }
    }

    pub fn bytes(&self) -> Arc<[u8]> {
        let read = fs::read(&self.program);
        read.unwrap_or_else(|error| panic!("{}: {error}", self.program.display())).into()
    }
}

/// The version that the program prints.
#[track_caller]
pub fn version_of(program: &Path) -> String {
    let name = program.display().to_string();
    let said = shell::run(10, &name, &["--version"], b"");
    let version = said.stdout.split(' ').nth(1).unwrap_or_default();
    assert!(said.ok && !version.is_empty(), "{name} --version: {said:?}");
    version.to_owned()
}

pub fn sha256(path: &Path) -> String {
    let sum = shell::run(60, "sha256sum", &[path], b"").stdout;
    assert!(sum.len() > 64, "{}", path.display());
    sum[..64].to_owned()
}

/// Written by another process: were it open for writing in this one, a fork in another test's
/// thread at that moment would make running it fail with ETXTBSY.
fn write_program(path: &Path, content: &[u8]) {
    let path = path.display().to_string();
    let script = "cat > \"$1\" && chmod 755 \"$1\"";
    let written = shell::run(10, "sh", &["-c", script, "sh", &path], content);
    assert!(written.ok, "{path}: {}", written.stderr);
}

/// Builds this source as another version: the same files, but for the version in the manifest.
///
/// Statically linked, because the machines' libc is their own; a debug build, because its speed is
/// not what these tests are about.
fn build(version: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = cache().join(format!("source-{version}"));
    fs::create_dir_all(&copy).expect("the cache is the tests' own");
    for name in ["src", "tests", "dist", "build.rs"] {
        // Already there in a second run.
        let _ = symlink(here.join(name), copy.join(name));
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        let text = fs::read_to_string(here.join(name)).expect("it is where it was built");
        let package = "name = \"vmkit-agent\"\nversion = ";
        let own = format!("{package}{:?}\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&own), "{name} does not hold {own:?}");
        let text = text.replace(&own, &format!("{package}{version:?}\n"));
        // Untouched where nothing has changed, so that cargo sees that.
        if fs::read_to_string(copy.join(name)).ok().as_ref() != Some(&text) {
            fs::write(copy.join(name), text).expect("the cache is the tests' own");
        }
    }
    let triple = shell::run(10, "rustc", &["--print", "host-tuple"], b"").stdout;
    let target = cache().join("cargo");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--offline", "--bin", "vmkit-agent"]);
    cargo.args(["--target", &triple]).arg("--target-dir").arg(&target).current_dir(&copy);
    cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "symbols");
    let built = shell::run_command(cargo, b"");
    assert!(built.ok, "building version {version}: {}", built.stderr);
    // The next build will put its own in the same place.
    let program = scratch().join("vmkit-agent");
    let from = target.join(&triple).join("debug/vmkit-agent");
    let installed = shell::run(30, "install", &[&from, &program], b"");
    assert!(installed.ok, "{}", installed.stderr);
    program
}
