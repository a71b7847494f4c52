//! A directory of the demo's own, 0700, with the token and the CA in it; gone when dropped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub struct Workplace {
    directory: PathBuf,
    token: String,
}

impl Workplace {
    pub fn new() -> Result<Workplace, String> {
        let name = format!("vmkit-test-demo-{}", random()?);
        let directory = std::env::temp_dir().join(name);
        let cannot = |error| format!("making {}: {error}", directory.display());
        DirBuilder::new().mode(0o700).create(&directory).map_err(cannot)?;
        let workplace = Workplace { directory, token: random()? };
        let file = workplace.token_file();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut file| file.write_all(workplace.token.as_bytes()))
            .map_err(|error| format!("writing {}: {error}", file.display()))?;
        Ok(workplace)
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// 128 bits as hex digits.
fn random() -> Result<String, String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("reading /dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
