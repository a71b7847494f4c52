//! What is on the machine already: the program, the definition of the service, the agents that
//! run. Nothing is changed here.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::error::Error;
use super::step::Step;
use crate::config::ENV_FILE;
use crate::host::init::{self, Definition, Init};
use crate::host::paths::PROGRAM;
use crate::host::process::Process;
use crate::host::timestamp::Timestamp;
use crate::run::command;
use crate::run::job::Children;
use crate::upgrade::swap;

/// How long systemd may take to show its units.
const PATIENCE: Duration = Duration::from_secs(120);
/// The kernel's start times may be wrong by so many seconds.
const SLACK: i64 = 2;

/// The steps that bring this program to its place; none where it is there already.
pub fn program_steps() -> Result<Vec<Step>, Error> {
    let failed = |what: &str, error: io::Error| Error::Failed(format!("can't {what}: {error}"));
    let mut own = File::open("/proc/self/exe")
        .map_err(|error| failed("read this program by /proc/self/exe", error))?;
    let checksum =
        swap::digest(&mut own, |_| Ok(())).map_err(|error| failed("read this program", error))?;
    let program = Path::new(PROGRAM);
    let there = match fs::symlink_metadata(program) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(vec![Step::Copy { checksum }]);
        }
        Err(error) => return Err(failed(&format!("look at {PROGRAM}"), error)),
    };
    if there.is_dir() {
        return Err(Error::Failed(format!("{PROGRAM} is a folder; run: sudo rm -r {PROGRAM}")));
    }
    let as_it_should_be = there.is_file()
        && (there.uid(), there.gid(), there.mode() & 0o7777) == (0, 0, 0o755)
        && swap::checksum(program).is_ok_and(|there| there == checksum);
    Ok(if as_it_should_be { Vec::new() } else { vec![Step::Copy { checksum }] })
}

/// Whether the file is there with its right text, owner and mode.
pub fn is_written(definition: &Definition) -> bool {
    // A link to a file somewhere else will do.
    let there = fs::metadata(definition.path).is_ok_and(|there| {
        there.is_file() && there.uid() == 0 && there.mode() & 0o7777 == definition.mode
    });
    there && fs::read(definition.path).is_ok_and(|text| text == definition.text.as_bytes())
}

/// The agents that run: that of the service, by the pid that the init system has, and those that
/// were started by hand.
pub fn agents(state: &init::State) -> Vec<Process> {
    let mut agents = Process::agents(Path::new(PROGRAM));
    let known = state.pid.and_then(Process::find);
    agents.retain(|agent| known.as_ref().is_none_or(|known| known.pid() != agent.pid()));
    agents.extend(known);
    agents
}

/// Whether one of these agents was started from another file than the installed one, or before its
/// settings were written: then an earlier installation was cut short, or did not restart the agent.
pub fn is_outdated(init: Init, running: &[Process]) -> bool {
    let written = |path| rustix::fs::stat(path).map_or(0, |file| file.st_mtime);
    let definition = init.definition().map_or(0, |definition| written(definition.path));
    let written = definition.max(written(ENV_FILE));
    // A time in the future means that the clock was put back since; it says nothing.
    let written = if written > Timestamp::now().unix() { 0 } else { written };
    running.iter().any(|agent| {
        let started = agent.identity.started_at();
        !agent.runs_file(Path::new(PROGRAM))
            || started.is_some_and(|started| started + SLACK < written)
    })
}

/// Whether the service gets its token from systemd.
pub fn has_credential(init: Init, children: &Rc<Children>) -> bool {
    let cat = ["systemctl", "cat", "vmkit-agent"];
    let unit = (init == Init::Systemd).then(|| command::run(&cat, PATIENCE, children));
    let is_one = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        name.trim_end().contains("Credential")
            && !name.starts_with(['#', ';'])
            && value.trim_start().starts_with("vmkit-agent-token")
    };
    unit.is_some_and(|unit| unit.unwrap_or_default().lines().any(is_one))
}
