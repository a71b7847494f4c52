//! Docker, as the agent uses it: whether there is a docker CLI, whether the agent may use the
//! daemon's socket, and whether the daemon answers.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{Answer, Machine};
use super::report::Report;
use super::service::Service;
use crate::docker::{self, Failure, Listing};
use crate::host::process::Process;
use crate::run::job::Surroundings;

/// As long as `metrics_collect` waits for docker.
const PATIENCE: Duration = Duration::from_secs(14);
/// A daemon that takes longer is overloaded or in trouble.
const SLOW: Duration = Duration::from_secs(2);
const SOCKET: &str = "/var/run/docker.sock";

/// # Errors
/// A signal that ends this process.
pub fn check(
    program: &OsStr,
    service: &Service,
    machine: &Machine,
    report: &mut Report,
) -> io::Result<()> {
    let name = program.to_string_lossy();
    if cli(program, service, machine, report)? {
        socket(&name, service, machine, report);
        containers(program, service, machine, report)
    } else {
        report.skip("docker-socket", "skipped: no docker CLI");
        report.skip("docker-ps", "skipped: no docker CLI");
        Ok(())
    }
}

/// Whether there is a docker CLI, which the other checks need.
fn cli(
    program: &OsStr,
    service: &Service,
    machine: &Machine,
    report: &mut Report,
) -> io::Result<bool> {
    const CHECK: &str = "docker-cli";
    let name = program.to_string_lossy();
    let version = ["--version".to_owned()];
    match machine.ask(Surroundings::Usual, program, &version, PATIENCE)? {
        Answer::Ended { status, .. } if status.success() && !finds(service, program) => {
            let seen = format!("{name} is on the PATH of this shell, but not on the agent's PATH");
            let install = service.own_command("install");
            let next =
                install.replace("sudo ", &format!("sudo VMKIT_DOCKER_BIN=$(command -v {name}) "));
            report.fail(CHECK, seen, next);
        }
        Answer::Ended { status, stdout, .. } if status.success() => {
            report.pass(CHECK, stdout.lines().next().unwrap_or("it prints no version").trim());
        }
        Answer::Ended { status, stderr, .. } => {
            let failure = Failure::classify(&name, &stderr, status);
            report.fail(CHECK, failure.to_string(), format!("{name} --version"));
        }
        Answer::TimedOut => {
            let seen = format!("{name} --version did not end within {} s", PATIENCE.as_secs());
            report.fail(CHECK, seen, format!("{name} --version"));
        }
        Answer::NotStarted(error) => {
            let failure = Failure::not_started(&name, &error);
            match error.kind() {
                // The agent does its other work without docker.
                ErrorKind::NotFound => {
                    let seen = format!("{failure}: no container logs, states or counts");
                    report.warn(CHECK, seen, install_command());
                }
                _ => report.fail(CHECK, failure.to_string(), format!("ls -l $(command -v {name})")),
            }
            return Ok(false);
        }
    }
    Ok(true)
}

fn install_command() -> &'static str {
    if Path::new("/sbin/apk").exists() {
        "sudo apk add docker"
    } else if Path::new("/usr/bin/dnf").exists() {
        "sudo dnf install docker"
    } else {
        "sudo apt-get install docker.io"
    }
}

fn containers(
    program: &OsStr,
    service: &Service,
    machine: &Machine,
    report: &mut Report,
) -> io::Result<()> {
    const CHECK: &str = "docker-ps";
    let name = program.to_string_lossy();
    match machine.ask(Surroundings::Usual, program, &docker::ps_arguments(), PATIENCE)? {
        Answer::Ended { status, stdout, took, .. } if status.success() => {
            listed(&name, &stdout, took, service, report);
        }
        Answer::Ended { stderr, .. }
            if !service.has_agents_rights() && stderr.contains("permission denied") =>
        {
            report.skip(CHECK, "this user may not use docker; the agent's user may");
        }
        Answer::Ended { status, stderr, .. } => {
            let failure = Failure::classify(&name, &stderr, status);
            report.fail(CHECK, failure.to_string(), service.docker("status"));
        }
        Answer::TimedOut => {
            let seen = format!("no answer within {} s: the daemon hangs", PATIENCE.as_secs());
            report.fail(CHECK, seen, service.docker("status"));
        }
        Answer::NotStarted(error) => {
            let seen = Failure::not_started(&name, &error).to_string();
            report.fail(CHECK, seen, format!("{name} ps"));
        }
    }
    Ok(())
}

/// `docker ps` has ended well: what it printed, and how long it took.
fn listed(name: &str, stdout: &str, took: Duration, service: &Service, report: &mut Report) {
    const CHECK: &str = "docker-ps";
    let mut listing = Listing::default();
    listing.feed(stdout.as_bytes());
    let count = match listing.end() {
        Ok(listed) => listed.count,
        Err(what) => return report.fail(CHECK, format!("{name} ps: {what}"), format!("{name} ps")),
    };
    let seen = format!("{count} containers running (docker answered in {} ms)", took.as_millis());
    match took < SLOW {
        true => report.pass(CHECK, seen),
        false => report.warn(CHECK, seen, service.docker("status")),
    }
}

/// Whether the agent may write to the socket. This doctor does not connect to it: only the docker CLI
/// does.
fn socket(program: &str, service: &Service, machine: &Machine, report: &mut Report) {
    let host = machine.variable("DOCKER_HOST");
    let path = match host.as_deref().map(|host| host.strip_prefix("unix://")) {
        Some(Some(path)) => path.to_owned(),
        Some(None) => {
            return report.skip("docker-socket", "DOCKER_HOST names no socket of this machine");
        }
        None if machine.variable("DOCKER_CONTEXT").is_some() => {
            return report.skip("docker-socket", "the socket is that of DOCKER_CONTEXT");
        }
        None if !program.ends_with("docker") => {
            return report.skip("docker-socket", format!("{program} may not need a socket"));
        }
        None => SOCKET.to_owned(),
    };
    let look = format!("ls -la {path}");
    let metadata = match fs::metadata(Path::new(&path)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let seen = format!("no {path}: the docker daemon does not run");
            return report.fail("docker-socket", seen, service.docker("start"));
        }
        Err(error) => return report.fail("docker-socket", format!("{path}: {error}"), look),
    };
    let (owner, group) = (name("/etc/passwd", metadata.uid()), name("/etc/group", metadata.gid()));
    let seen = format!("{path}: mode {:04o}, {owner}:{group}", metadata.mode() & 0o7777);
    let agent = service.reader();
    if !metadata.file_type().is_socket() {
        report.fail("docker-socket", format!("{path} is not a socket"), look);
    } else if agent.may_write(&metadata) {
        report.pass("docker-socket", seen);
    } else if service.agents_rights_are_unknown() {
        report.skip(
            "docker-socket",
            format!("{seen}; the agent does not run, so its user is unknown"),
        );
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

/// Whether the running agent finds the program on its `PATH`; true where none runs.
fn finds(service: &Service, program: &OsStr) -> bool {
    let environment = service.agent.as_ref().map(Process::environment).unwrap_or_default();
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let has = |folder: PathBuf| service.reader().view(&folder).join(program).exists();
    path.is_none_or(|(_, folders)| std::env::split_paths(folders).any(has))
}

/// The name of a user or group, by `/etc/passwd` or `/etc/group`; else the number.
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
