//! Containers for the agent to report on: one well, one unwell, one that has no health check. Their
//! image is a busybox and nothing else, so that no registry is needed; all gone when dropped.
//!
//! Every docker command runs to its end, in a process group of its own, before a Ctrl-C is looked
//! at: a half-done one could leave behind what nobody knows of.

use std::fmt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::stop::Stop;
use crate::workplace::Workplace;

/// Name, health check, what it does.
const CONTAINERS: [(&str, Option<&str>, &str); 3] = [
    (
        "web",
        Some("test -e /ready"),
        "echo listening on :8080; : > /ready; n=0; while sleep 1; do n=$((n+1)); \
         echo \"GET /orders/$n 200\"; [ $((n%5)) = 0 ] && echo \"slow query: $n ms\" >&2; done",
    ),
    ("jobs", None, "n=0; while sleep 2; do n=$((n+1)); echo \"job $n done\"; done"),
    ("db", Some("test -e /never"), "while sleep 3; do echo 'still warming up' >&2; done"),
];

pub struct Containers {
    image: String,
    prefix: String,
}

impl Containers {
    /// The error says why there are none, and what would help.
    pub fn start(workplace: &Workplace, stop: &Stop) -> Result<Containers, String> {
        find("docker").ok_or("docker is not installed; apt-get install docker.io")?;
        docker(&["version", "--format", "{{.Server.Version}}"])
            .map_err(|error| format!("no Docker Engine answers ({error})"))?;
        let busybox = find("busybox")
            .ok_or("there is no busybox to make an image of; apt-get install busybox-static")?;
        let archive = archive(&busybox, workplace)?;

        let prefix = format!("vmkit-test-demo-{}-", std::process::id());
        let image = format!("{prefix}image");
        // From here on the guard cleans up, whatever comes.
        let containers = Containers { image, prefix };
        docker(&["import", &archive.display().to_string(), &containers.image])?;
        for (name, health, script) in CONTAINERS {
            if stop.requested() {
                return Err("interrupted".to_owned());
            }
            let name = containers.full_name(name);
            let mut arguments = vec!["run", "-d", "--name", &name, "--network", "none"];
            if let Some(check) = health {
                arguments.extend(["--health-cmd", check]);
                arguments.extend(["--health-interval", "1s", "--health-retries", "3"]);
            }
            arguments.extend([&*containers.image, "/bin/sh", "-c", script]);
            docker(&arguments).map_err(|error| {
                format!("{error}; if busybox is not static: apt-get install busybox-static")
            })?;
        }
        Ok(containers)
    }

    /// The name that docker knows it by.
    pub fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The short name, for a container of the demo's.
    pub fn short_name<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.prefix)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for (name, ..) in CONTAINERS {
            let _ = docker(&["rm", "-f", &self.full_name(name)]);
        }
        let _ = docker(&["rmi", "-f", &self.image]);
    }
}

impl fmt::Display for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = CONTAINERS.map(|(name, ..)| name).join(", ");
        write!(f, "{names} (in docker: {}...)", self.prefix)
    }
}

/// A root file system: busybox under the names that the scripts use.
fn archive(busybox: &Path, workplace: &Workplace) -> Result<PathBuf, String> {
    let root = workplace.path().join("root");
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin)
        .and_then(|()| std::fs::copy(busybox, bin.join("busybox")))
        .and_then(|_| {
            ["sh", "sleep"].iter().try_for_each(|name| symlink("busybox", bin.join(name)))
        })
        .map_err(|error| format!("preparing {}: {error}", root.display()))?;
    let archive = workplace.path().join("root.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".");
    run(&mut tar)?;
    Ok(archive)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

fn docker(arguments: &[&str]) -> Result<(), String> {
    // A hung engine must not hang the demo: coreutils' timeout ends the client.
    run(Command::new("timeout").args(["30", "docker"]).args(arguments))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().rfind(|line| !line.is_empty() && !line.starts_with("See '"));
    Err(last.map_or_else(|| format!("{name}: {}", output.status), str::to_owned))
}
