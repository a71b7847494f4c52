//! A directory of its own for each agent, removed when the test ends, however it ends.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("vmkit-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::create_dir(path.join("bin")).expect("a directory just made can be written to");
        Scratch { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A copy of this program that every user can run; where it was built, they may not look.
    pub fn open_to_all(&self, program: &str) -> PathBuf {
        let copy = self.path.join("vmkit-agent");
        let installed = Command::new("install").args(["-m", "755", program]).arg(&copy).status();
        assert!(installed.expect("coreutils are there").success());
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&self.path, open).expect("the directory is the test's own");
        copy
    }

    /// Ends whatever still runs with this directory in its environment: what the agent left behind.
    pub fn end_leftovers(&self) {
        let mark = self.path.to_str().expect("made of ASCII").as_bytes();
        kill_marked(|variable| {
            variable
                .windows(mark.len() + 1)
                .any(|part| part.starts_with(mark) && !part[mark.len()].is_ascii_digit())
        });
    }
}

/// Kills each process that has such a variable in its environment, as `NAME=value`.
pub fn kill_marked(mark: impl Fn(&[u8]) -> bool) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if let Some(pid) = pid
            && environment.split(|byte| *byte == 0).any(&mark)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A process that was killed may still write while the directory is being removed.
        let deadline = Instant::now() + Duration::from_secs(5);
        self.end_leftovers();
        while fs::remove_dir_all(&self.path).is_err_and(|error| error.kind() != ErrorKind::NotFound)
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(20));
            self.end_leftovers();
        }
    }
}
