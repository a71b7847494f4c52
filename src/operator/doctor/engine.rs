//! Docker, as the agent uses it: the command line, the socket that it speaks to, and whether the
//! daemon answers.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{Answer, Machine};
use super::report::Report;
use super::service::Service;
use crate::docker::{self, Failure};
use crate::host::process::Process;
use crate::run::job::Surroundings;

/// What `metrics_collect` gives docker.
const PATIENCE: Duration = Duration::from_secs(14);
/// A daemon that takes longer is in trouble.
const SLOW: Duration = Duration::from_secs(2);
const SOCKET: &str = "/var/run/docker.sock";

/// # Errors
/// A signal that asks this process to end.
pub fn check(
    program: &OsStr,
    service: &Service,
    machine: &Machine,
    report: &mut Report,
) -> io::Result<()> {
    let name = program.to_string_lossy();
    let version = ["--version".to_owned()];
    match machine.ask(Surroundings::Usual, program, &version, PATIENCE)? {
        Answer::Ended { status, .. } if status.success() && !finds(service, program) => {
            let seen = format!("{name} is on the PATH of this shell, not on that of the agent");
            let next = format!("sudo VMKIT_DOCKER_BIN=$(command -v {name}) vmkit-agent install");
            report.fail("docker-cli", seen, next);
        }
        Answer::Ended { status, stdout, .. } if status.success() => {
            report.pass("docker-cli", stdout.lines().next().unwrap_or("it says nothing").trim());
        }
        Answer::Ended { status, stderr, .. } => {
            let failure = Failure::classify(&name, &stderr, status);
            report.fail("docker-cli", failure.to_string(), format!("{name} --version"));
        }
        Answer::TimedOut => {
            let seen = format!("{name} --version did not end within {} s", PATIENCE.as_secs());
            report.fail("docker-cli", seen, format!("{name} --version"));
        }
        Answer::NotStarted(error) => {
            let seen = Failure::not_started(&name, &error).to_string();
            let next = match error.kind() {
                ErrorKind::NotFound => "sudo apt-get install docker.io".to_owned(),
                _ => format!("ls -l $(command -v {name})"),
            };
            report.fail("docker-cli", seen, next);
            report.skip("docker-socket", "nothing to speak to it with");
            report.skip("docker-ps", "nothing to ask with");
            return Ok(());
        }
    }
    socket(&name, service, machine, report);
    match machine.ask(Surroundings::Usual, program, &docker::ps_arguments(), PATIENCE)? {
        Answer::Ended { status, stdout, took, .. } if status.success() => {
            let count = docker::parse_ps(&stdout).len();
            let seen = format!("{count} containers run, {} ms", took.as_millis());
            match took < SLOW {
                true => report.pass("docker-ps", seen),
                false => report.warn("docker-ps", seen, service.docker("status")),
            }
        }
        Answer::Ended { status, stderr, .. } => {
            let failure = Failure::classify(&name, &stderr, status);
            report.fail("docker-ps", failure.to_string(), service.docker("status"));
        }
        Answer::TimedOut => {
            let seen = format!("no answer within {} s: the daemon hangs", PATIENCE.as_secs());
            report.fail("docker-ps", seen, service.docker("status"));
        }
        Answer::NotStarted(error) => {
            let seen = Failure::not_started(&name, &error).to_string();
            report.fail("docker-ps", seen, format!("{name} ps"));
        }
    }
    Ok(())
}

/// Whether the agent may write to the socket. It is not connected to: docker's command line is the
/// one that speaks to it.
fn socket(program: &str, service: &Service, machine: &Machine, report: &mut Report) {
    let host = machine.variable("DOCKER_HOST");
    let path = match host.as_deref().map(|host| host.strip_prefix("unix://")) {
        Some(Some(path)) => path.to_owned(),
        Some(None) => return report.skip("docker-socket", "DOCKER_HOST is elsewhere"),
        None if machine.variable("DOCKER_CONTEXT").is_some() => {
            return report.skip("docker-socket", "DOCKER_CONTEXT says where it is");
        }
        None if !program.ends_with("docker") => {
            return report.skip("docker-socket", format!("{program} may need none"));
        }
        None => SOCKET.to_owned(),
    };
    let look = format!("ls -la {path}");
    let metadata = match fs::metadata(Path::new(&path)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let seen = format!("no {path}: the daemon does not run");
            return report.fail("docker-socket", seen, service.docker("start"));
        }
        Err(error) => return report.fail("docker-socket", format!("{path}: {error}"), look),
    };
    let (owner, group) = (name("/etc/passwd", metadata.uid()), name("/etc/group", metadata.gid()));
    let seen = format!("{path}: mode {:04o}, {owner}:{group}", metadata.mode() & 0o7777);
    let agent = service.reader();
    if !metadata.file_type().is_socket() {
        report.fail("docker-socket", format!("{path} is no socket"), look);
    } else if agent.may_write(&metadata) {
        report.pass("docker-socket", seen);
    } else {
        let user = name("/etc/passwd", agent.identity.user);
        let seen = format!("permission denied: {seen}, and {user} is not in that group");
        let give = match metadata.gid() {
            0 => format!("sudo chgrp docker {path}"),
            _ => format!("sudo usermod -aG {group} {user}"),
        };
        report.fail("docker-socket", seen, service.then_restart(&give));
    }
}

/// Whether the agent that runs has this program on its `PATH`, as this doctor has.
fn finds(service: &Service, program: &OsStr) -> bool {
    let environment = service.agent.as_ref().map(Process::environment).unwrap_or_default();
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let has = |folder: PathBuf| service.reader().view(&folder).join(program).exists();
    path.is_none_or(|(_, folders)| std::env::split_paths(folders).any(has))
}

/// The name that goes with a number in one of these files, else the number.
fn name(path: &str, id: u32) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let id = id.to_string();
    let entry = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    entry.unwrap_or(id)
}
