//! What the scenarios stand on: a machine to boot and break, agents to put on it, and the gateway
//! and the download server outside of it.
//!
//! Nothing here sleeps to wait for something: it polls, with a deadline that is a bound on failure,
//! not an expectation. All traffic stays on the loopback interface, which the machines share with
//! the tests.

mod bare;
mod cleanup;
mod empty;
mod gateway;
mod image;
mod journal;
mod releases;
mod scene;
mod shell;
mod systemd;
mod vm;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use bare::Bare;
pub use empty::Empty;
pub use gateway::{Gateway, Refusal, TOKEN};
pub use releases::{Release, sha256, version_of};
pub use scene::{BROUGHT, INSTALLED, PREVIOUS, SHORT_PROBATION, Scene, UNIT, short_probation};
pub use vm::{Kind, Vm};
pub use vmkit_test_support::{Download, Server, poll_until};

/// How long anything that should happen at once may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where cargo builds; the test binary is `<target>/<profile>/deps/vm-<hash>`.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the kernel knows it");
    program.ancestors().nth(3).expect("cargo's layout").to_owned()
}

/// The folder that the tests keep from run to run.
fn cache() -> PathBuf {
    let cache = target().join("vm");
    std::fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
    cache
}

/// A name that no other thing of this or another run has.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("vmkit-test-vm-{}-{count}", std::process::id())
}

/// A folder of the test run's own, removed when the run ends.
pub fn scratch() -> PathBuf {
    let path = Path::new(cleanup::folder()).join(unique());
    std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
