//! Real containers: one that has written 5,000 lines, one with a health check, both asleep. Their image
//! is a busybox and nothing else, so that no registry is needed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::workplace::{Workplace, name, starting};

pub struct Containers {
    /// The one with lines.
    pub lines: String,
}

pub const LINES: usize = 5000;
/// 100 bytes each.
const WRITE_LINES: &str = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); \
     printf '%08d GET /orders/%08d 200 %065d\n' $i $i 0; done; exec sleep 100000";

/// Whether there is anything of docker's to remove.
static USED: AtomicBool = AtomicBool::new(false);

impl Containers {
    pub fn start(place: &Workplace) -> Result<Containers, String> {
        find("docker").ok_or("docker is not installed; apt-get install docker.io")?;
        run(&["version", "--format", "{{.Server.Version}}"])
            .map_err(|error| format!("no Docker Engine answers ({error})"))?;
        let busybox = find("busybox").ok_or("no busybox; apt-get install busybox-static")?;
        let archive = archive(&busybox, place)?.display().to_string();

        USED.store(true, Ordering::Relaxed);
        let [image, lines, web] = names();
        let new = ["run", "-d", "--network", "none", "--name"];
        run(&["import", &archive, &image])?;
        run(&[&new[..], &[&*lines, &*image, "/bin/sh", "-c", WRITE_LINES]].concat())?;
        let check = ["--health-cmd", "true", "--health-interval", "1h"];
        run(&[&new[..], &[&*web], &check, &[&*image, "/bin/sleep", "100000"]].concat())?;

        let deadline = Instant::now() + Duration::from_secs(60);
        while run(&["logs", &lines])?.lines().count() < LINES {
            if Instant::now() > deadline {
                return Err(format!("{lines} did not write its {LINES} lines within a minute"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Containers { lines })
    }
}

/// Removes the containers and their image. The caller sees to it that none is being started.
pub fn remove_all() {
    if USED.swap(false, Ordering::Relaxed) {
        let [image, lines, web] = names();
        let _ = output(&["rm", "-f", &lines, &web]);
        let _ = output(&["rmi", "-f", &image]);
    }
}

/// The image, the container with the lines, the one with the health check.
fn names() -> [String; 3] {
    ["image", "lines", "web"].map(|part| format!("{}-{part}", name()))
}

/// A root file system: busybox under the names that are used.
fn archive(busybox: &Path, place: &Workplace) -> Result<PathBuf, String> {
    let bin = place.path().join("root/bin");
    std::fs::create_dir_all(&bin)
        .and_then(|()| std::fs::copy(busybox, bin.join("busybox")))
        .and_then(|_| {
            ["sh", "sleep", "true"].iter().try_for_each(|name| symlink("busybox", bin.join(name)))
        })
        .map_err(|error| format!("preparing {}: {error}", bin.display()))?;
    let archive = place.path().join("root.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(place.path().join("root")).arg("-cf").arg(&archive).arg(".");
    finish(&mut tar).map(|_| archive)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

fn run(arguments: &[&str]) -> Result<String, String> {
    let _starting = starting();
    output(arguments)
}

fn output(arguments: &[&str]) -> Result<String, String> {
    // A hung engine must not hang the bench.
    finish(Command::new("timeout").args(["60", "docker"]).args(arguments))
}

/// Runs it to its end, whatever signal ends the bench meanwhile: a half-done `docker run` could leave
/// behind what nobody knows of.
fn finish(command: &mut Command) -> Result<String, String> {
    use std::os::unix::process::CommandExt;

    let output = command.stdin(Stdio::null()).process_group(0).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().rfind(|line| !line.is_empty() && !line.starts_with("See '"));
    Err(last.map_or_else(|| output.status.to_string(), str::to_owned))
}
