//! What the kit offers for an upgrade: small scripts that call themselves a version, and signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::bench::Bench;
use super::super::downloads::Serve;
use super::super::fault::{Fault, Outcome, unreached};

/// A file and the version that is told with it.
#[derive(Clone)]
pub struct Release {
    pub version: String,
    pub bytes: Arc<Vec<u8>>,
}

impl Release {
    /// A script that answers `--version` and ends at once when it is run as an agent.
    pub fn that_ends() -> Release {
        let version = format!("99.{}", unique());
        let script = Release::script(&version, "exit 1");
        Release { version, bytes: Arc::new(script.into_bytes()) }
    }

    /// The same, lower than every version of an agent.
    pub fn lower() -> Release {
        let version = format!("0.0.0-kit.{}", unique());
        let script = Release::script(&version, "exit 1");
        Release { version, bytes: Arc::new(script.into_bytes()) }
    }

    /// A file whose version is another than the one that is told.
    pub fn another_version() -> Release {
        let script = Release::script("98.0.0", "exit 1");
        Release { version: format!("99.{}", unique()), bytes: Arc::new(script.into_bytes()) }
    }

    /// A file that can't be run.
    pub fn unfit(size: usize) -> Release {
        let bytes = Arc::new(vec![b'#'; size]);
        Release { version: format!("99.{}", unique()), bytes }
    }

    /// The file that was given with `--upgrade-binary`.
    pub fn given(bench: &Bench) -> Outcome<Release> {
        let Some(path) = &bench.shared.arguments.upgrade_binary else {
            return unreached("it needs the agent as another version: --upgrade-binary FILE");
        };
        let fault = |why: String| Fault::Kit(format!("{}: {why}", path.display()));
        let bytes = fs::read(path).map_err(|error| fault(error.to_string()))?;
        let said = Command::new(path).arg("--version").output();
        let said = said.map_err(|error| fault(error.to_string()))?.stdout;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        // A build may name its commit behind the version.
        match said.strip_prefix("vmkit-agent ").and_then(|rest| rest.split(' ').next()) {
            Some(version) => Ok(Release { version: version.to_owned(), bytes: Arc::new(bytes) }),
            None => Err(fault(format!("--version says {said:?}"))),
        }
    }

    fn script(version: &str, run: &str) -> String {
        format!(
            "#!/bin/sh\n[ \"$*\" = --version ] && echo 'vmkit-agent {version}' && exit\n{run}\n"
        )
    }

    pub fn sum(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&*self.bytes))
    }

    pub fn whole(&self) -> Serve {
        Serve::Whole(self.bytes.clone())
    }

    /// Served over this time.
    pub fn slow(&self, over: Duration) -> Serve {
        Serve::Slow(self.bytes.clone(), over, true)
    }

    pub fn params(&self, url: &str) -> Value {
        json!({"version": self.version, "download_url": url, "checksum_sha256": self.sum()})
    }
}

/// A download of the same version by another kit would share its place in `/tmp`.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The real minisign with a key of its own.
pub struct Signer {
    folder: PathBuf,
    pub key: String,
}

impl Signer {
    pub fn new(folder: &Path) -> Outcome<Signer> {
        let mut signer = Signer { folder: folder.to_owned(), key: String::new() };
        signer.minisign(&["-G", "-f", "-W", "-p", "key.pub", "-s", "key.sec"])?;
        let text = fs::read_to_string(folder.join("key.pub")).unwrap_or_default();
        text.lines().nth(1).unwrap_or_default().clone_into(&mut signer.key);
        Ok(signer)
    }

    /// A signature with this trusted comment.
    pub fn sign(&self, release: &Release, comment: &str) -> Outcome<Serve> {
        let path = self.folder.join("signed");
        let fault = |error: std::io::Error| Fault::Kit(format!("{}: {error}", path.display()));
        fs::write(&path, &*release.bytes).map_err(fault)?;
        self.minisign(&["-S", "-s", "key.sec", "-m", "signed", "-t", comment])?;
        let signature = fs::read(path.with_extension("minisig")).map_err(fault)?;
        Ok(Serve::Whole(Arc::new(signature)))
    }

    fn minisign(&self, arguments: &[&str]) -> Outcome {
        let run = Command::new("minisign").args(arguments).current_dir(&self.folder).output();
        match run {
            Ok(run) if run.status.success() => Ok(()),
            Ok(run) => Err(Fault::Kit(format!(
                "minisign {arguments:?}: {}",
                String::from_utf8_lossy(&run.stderr).trim()
            ))),
            Err(_) => unreached("it needs the program minisign on this machine; install it"),
        }
    }
}
