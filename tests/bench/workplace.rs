//! A directory of the bench's own, and the end of all that was started from it: when it is dropped and
//! on SIGINT, SIGTERM and SIGHUP alike.
//!
//! Agents and their children carry the directory's path in their environment; whoever still does
//! when the end comes is killed.

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::docker;
use crate::support::kill_marked;

/// The variable by which a process that the bench started is known.
pub const MARK: &str = "VMKIT_TEST_BENCH";

pub struct Workplace {
    directory: PathBuf,
    count: AtomicU32,
}

/// Held by whoever starts something, and by the end from its beginning on: nothing is started after.
static STARTING: Mutex<()> = Mutex::new(());

pub fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the bench's directory, containers and image are called, or begin with.
pub fn name() -> String {
    format!("vmkit-test-bench-{}", std::process::id())
}

impl Workplace {
    pub fn new() -> Result<Workplace, String> {
        let directory = std::env::temp_dir().join(name());
        let cannot = |error| format!("making {}: {error}", directory.display());
        DirBuilder::new().mode(0o700).create(&directory).map_err(cannot)?;
        let place = Workplace { directory: directory.clone(), count: AtomicU32::new(0) };

        let (mut signals, sender) = UnixStream::pair().map_err(|error| error.to_string())?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let sender = sender.try_clone().map_err(|error| error.to_string())?;
            pipe::register(signal, sender).map_err(|error| error.to_string())?;
        }
        thread::spawn(move || {
            let _ = signals.read_exact(&mut [0]);
            let _ended = starting();
            // Whoever measures now loses the agent.
            std::panic::set_hook(Box::new(|_| ()));
            clean(&directory);
            std::process::exit(130);
        });
        Ok(place)
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.directory.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// A path in the directory that was not handed out before.
    pub fn next_path(&self) -> PathBuf {
        self.directory.join(self.count.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ended = starting();
        clean(&self.directory);
    }
}

fn clean(directory: &Path) {
    kill(|mark| Path::new(mark).starts_with(directory));
    docker::remove_all();
    let _ = fs::remove_dir_all(directory);
}

/// Kills the processes whose mark is like this.
pub fn kill(like: impl Fn(&str) -> bool) {
    kill_marked(|variable| {
        let mark = std::str::from_utf8(variable).ok();
        let mark = mark.and_then(|text| text.strip_prefix(MARK)?.strip_prefix('='));
        mark.is_some_and(&like)
    });
}
