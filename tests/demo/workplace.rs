//! A directory of the demo's own, 0700, with the token, the API key and the CA in it; gone when dropped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub struct Workplace {
    directory: PathBuf,
    token: String,
    api_key: String,
}

impl Workplace {
    pub fn new() -> Result<Workplace, String> {
        let name = format!("vmkit-test-demo-{}", random()?);
        let directory = std::env::temp_dir().join(name);
        let cannot = |error| format!("making {}: {error}", directory.display());
        DirBuilder::new().mode(0o700).create(&directory).map_err(cannot)?;
        let api_key = format!("vmk_{}", random()?);
        let workplace = Workplace { directory, token: random()?, api_key };
        write_secret(&workplace.token_file(), &workplace.token)?;
        write_secret(&workplace.api_key_file(), &workplace.api_key)?;
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

    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    pub fn api_key_file(&self) -> PathBuf {
        self.directory.join("api-key")
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

fn write_secret(file: &Path, secret: &str) -> Result<(), String> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .map_err(|error| format!("writing {}: {error}", file.display()))
}

/// 128 bits as hex digits.
fn random() -> Result<String, String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("reading /dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
