//! What all measurements share: the agent's binary, the certificate, the containers, the fake docker.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::Containers;
use crate::fake::Fake;
use crate::support::{Authority, Identity};
use crate::workplace::Workplace;

pub struct World {
    pub agent: PathBuf,
    /// As the agent says it.
    pub version: String,
    pub quick: bool,
    /// What the peer shows; the agent trusts its authority.
    pub identity: Identity,
    pub ca_file: PathBuf,
    pub fake: Fake,
    /// The error says why there are none.
    pub containers: Result<Containers, String>,
    // The last to be dropped: it removes the directory that the others use.
    pub place: Workplace,
}

impl World {
    pub fn new(quick: bool) -> Result<World, String> {
        let agent = std::env::var_os("AGENT").ok_or("AGENT is not set; run make bench")?;
        let agent = PathBuf::from(&agent)
            .canonicalize()
            .map_err(|error| format!("AGENT: {}: {error}", agent.display()))?;
        let version = version(&agent)?;
        let place = Workplace::new()?;
        let authority = Authority::new();
        let ca_file = place.write("ca.pem", authority.pem().as_bytes())?;
        let fake = Fake::new(&place)?;
        let containers = Containers::start(&place);
        let identity = authority.good();
        Ok(World { agent, version, quick, identity, ca_file, fake, containers, place })
    }

    /// One of two: what a measurement takes, and what is enough to see that it works.
    pub fn pick<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

fn version(agent: &Path) -> Result<String, String> {
    let output = Command::new(agent).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}", agent.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    match line.starts_with("vmkit-agent ") {
        true => Ok(line.to_owned()),
        false => Err(format!("{}: not the agent: it says {line:?}", agent.display())),
    }
}
