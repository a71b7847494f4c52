//! What the tests of this room share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::binary;
use super::request::{Checksum, Version};
use super::state::Trial;

/// A folder of a test's own.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmkit-upgrade-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The names of the files, in order, without lock files.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| ![".lock", ".reserve"].iter().any(|end| name.ends_with(end)));
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn checksum_of(content: &[u8]) -> Checksum {
    binary::digest(&mut &*content, |_| Ok(())).unwrap()
}

/// The trial of a binary with `content`, about to be installed.
pub fn trial(installed: &Path, content: &[u8]) -> Trial {
    let version = Version::try_from(format!("0.0.{}", std::process::id())).unwrap();
    Trial::new(version, checksum_of(content), installed, Duration::from_secs(120), None)
}
