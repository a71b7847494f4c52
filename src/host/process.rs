//! Who a process is, by `/proc/<pid>`. Doctor, install and the guard decide by it.
//!
//! A pid alone means nothing: another process may have it by now, and any user can start a process
//! under any name. A process counts as the agent's only if its user, root and mount namespace are
//! those of this process. It is remembered with its start time and boot. Nothing here executes a
//! file through another process's `/proc` entry.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open, pidfd_send_signal,
};
use serde::{Deserialize, Serialize};

use super::usage;
use crate::run::wait;

/// A process as `/proc` showed it at one moment.
#[derive(Clone, Debug)]
pub struct Process {
    pub identity: Identity,
    groups: Vec<u32>,
    /// The path of the file that the process was started from; none where this user may not read
    /// it. Another file may be there by now.
    pub program: Option<PathBuf>,
}

/// Tells a process from all others, also from a later process with the same pid.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Identity {
    pub pid: u32,
    /// The result of [`boot`] at that time.
    boot: String,
    /// In the kernel's ticks of 1/100 s since the boot.
    started: u64,
    /// The effective user.
    pub user: u32,
}

/// How long processes may take to end after SIGTERM. The agent needs two seconds at most.
const FAREWELL: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);
/// The kernel's ticks for programs, on every architecture.
const TICKS: u64 = 100;

impl Identity {
    /// The process that has this pid now; none if there is none.
    pub fn of(pid: u32) -> Option<Identity> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let user = *ids(&status, "Uid:").get(1)?;
        Some(Identity { pid, boot: boot(), started: start_time(pid)?, user })
    }

    /// Whether the process still runs. A zombie does not.
    pub fn lives(&self) -> bool {
        start_time(self.pid) == Some(self.started) && self.boot == boot()
    }

    /// When the process was started, in seconds since 1970.
    pub fn started_at(&self) -> Option<i64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let booted: i64 =
            stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        i64::try_from(self.started / TICKS).ok().map(|seconds| booted + seconds)
    }

    /// Sends a signal to this process and to no other: through a pidfd, or, on a kernel without
    /// pidfds, right after a comparison of the start time.
    fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let descriptor = pidfd_open(pid, PidfdFlags::empty());
        if !self.lives() {
            return;
        }
        // An error means that the process is gone.
        let _ = match descriptor {
            Ok(descriptor) => pidfd_send_signal(descriptor, signal),
            Err(_) => kill_process(pid, signal),
        };
    }
}

/// Ends these processes with SIGTERM, and those that are left after [`FAREWELL`] with SIGKILL.
pub fn end(processes: &[Identity]) {
    let give_up = Instant::now() + FAREWELL;
    processes.iter().for_each(|process| process.signal(Signal::TERM));
    while processes.iter().any(Identity::lives) {
        if Instant::now() >= give_up {
            processes.iter().for_each(|process| process.signal(Signal::KILL));
            return;
        }
        wait::pause(STEP);
    }
}

impl Process {
    /// This process.
    pub fn own() -> Process {
        let pid = std::process::id();
        let unknown = || Process {
            identity: Identity { pid, boot: boot(), started: 0, user: geteuid().as_raw() },
            groups: Vec::new(),
            program: None,
        };
        Process::find(pid).unwrap_or_else(unknown)
    }

    /// The process that has this pid now; none if there is none.
    pub fn find(pid: u32) -> Option<Process> {
        let identity = Identity::of(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mut groups = ids(&status, "Groups:");
        groups.extend(ids(&status, "Gid:").get(1));
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let program = program.map(|program| program.to_string_lossy().into_owned());
        let program =
            program.map(|shown| shown.strip_suffix(" (deleted)").unwrap_or(&shown).into());
        Some(Process { identity, groups, program })
    }

    /// Our other processes that were started from one of these paths, even if the file there was
    /// replaced since.
    pub fn running(programs: &[PathBuf]) -> Vec<Process> {
        // `/proc` shows paths without symbolic links.
        let real = |path: &PathBuf| {
            let folder = fs::canonicalize(path.parent()?).ok()?;
            Some(folder.join(path.file_name()?))
        };
        let programs: Vec<PathBuf> = programs.iter().filter_map(real).collect();
        let is_one = |process: &Process| {
            process.program.as_ref().is_some_and(|program| programs.contains(program))
                && process.identity.pid != std::process::id()
                && process.is_ours()
        };
        all().filter(is_one).collect()
    }

    /// Our agents that were started from `installed`.
    pub fn agents(installed: &Path) -> Vec<Process> {
        let mut agents = Process::running(&[installed.to_owned()]);
        agents.retain(Process::is_agent);
        agents
    }

    /// All agents of this user in this root, whatever file they were started from: also those of a
    /// service that has a mount namespace of its own. To be named, and for nothing else.
    pub fn all_agents() -> Vec<Process> {
        let root = place("/proc/self/root");
        let is_one = |process: &Process| {
            let name = process.program.as_ref().and_then(|program| program.file_name());
            name.is_some_and(|name| name.to_string_lossy().starts_with("vmkit-agent"))
                && process.identity.user == geteuid().as_raw()
                && place(&format!("/proc/{}/root", process.pid())) == root
                && process.is_agent()
        };
        all().filter(is_one).collect()
    }

    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Whether the process was started from the file that is at `path` now.
    pub fn runs_file(&self, path: &Path) -> bool {
        let running = place(&format!("/proc/{}/exe", self.pid()));
        running.is_some() && running == fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// The variables that the process was started with; empty where this user may not read them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let bytes = fs::read(format!("/proc/{}/environ", self.pid())).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let variables = text.split('\0').filter_map(|variable| variable.split_once('='));
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether the process belongs to systemd's unit `vmkit-agent.service`.
    pub fn is_service(&self) -> bool {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()));
        groups.is_ok_and(|groups| groups.contains("/vmkit-agent.service"))
    }

    /// A path of ours to the file that the process sees at `path`; `path` itself where this user may
    /// not look.
    pub fn view(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        match fs::metadata(&root) {
            Ok(_) => root.join(path.strip_prefix("/").unwrap_or(path)),
            Err(_) => path.to_owned(),
        }
    }

    /// Whether the file's mode lets the process write to it.
    pub fn may_write(&self, file: &fs::Metadata) -> bool {
        let user = self.identity.user;
        let bit = if file.uid() == user {
            0o200
        } else if self.groups.contains(&file.gid()) {
            0o020
        } else {
            0o002
        };
        user == 0 || file.mode() & bit != 0
    }

    /// Whether user, root and mount namespace are those of this process. In a namespace of its own
    /// any user can have any file at any path.
    fn is_ours(&self) -> bool {
        let same = |name| {
            let theirs = place(&format!("/proc/{}/{name}", self.pid()));
            theirs.is_some() && theirs == place(&format!("/proc/self/{name}"))
        };
        self.identity.user == geteuid().as_raw() && same("root") && same("ns/mnt")
    }

    /// Whether the process, which runs our program, runs it as the agent and not as another command.
    fn is_agent(&self) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
        matches!(arguments.split(|byte| *byte == 0).nth(1), None | Some(b"" | b"run"))
    }
}

/// All processes there are.
fn all() -> impl Iterator<Item = Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::find)
}

/// Names this boot: the kernel's boot id and the start time of process 1, which the restart of a
/// container changes.
pub fn boot() -> String {
    let first = start_time(1).map_or(String::new(), |ticks| ticks.to_string());
    format!("{} {first}", kernel_boot())
}

/// The kernel's name of this boot; empty where it can't be read.
pub fn kernel_boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Seconds since the boot. Corrections of the clock do not move it.
pub fn uptime() -> u64 {
    usage::read_uptime().unwrap_or_default()
}

/// When a process was started, in the kernel's ticks; none if it has ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name comes before and may hold anything, parentheses included.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18)?.parse().ok()?;
    (!has_ended).then_some(started)
}

/// The device and inode of the file that a path leads to.
fn place(path: &str) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// The numbers in a line of `/proc/<pid>/status`. A line of users has the real, the effective, the
/// saved and the file system's.
fn ids(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().split_whitespace().flat_map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// A child that sleeps, ended with the test.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn new() -> Sleeper {
            Sleeper(Command::new("sleep").arg("60").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn this_process_is_itself_and_ours() {
        let process = Process::own();
        assert_eq!(process.identity.user, geteuid().as_raw());
        assert!(process.is_ours() && process.identity.lives());
        assert!(process.runs_file(&std::env::current_exe().unwrap()));
        assert!(!process.runs_file(Path::new("/bin/sh")));
    }

    #[test]
    fn another_start_boot_or_user_is_another_process() {
        let own = Process::own().identity;
        assert_eq!(Identity::of(own.pid), Some(own.clone()));
        assert!(!Identity { started: own.started + 1, ..own.clone() }.lives());
        assert!(!Identity { boot: "another".to_owned(), ..own.clone() }.lives());
        assert_eq!(Identity::of(u32::MAX), None);
    }

    #[test]
    fn a_signal_reaches_the_process_that_was_meant_and_no_other() {
        let mut sleeper = Sleeper::new();
        let identity = Identity::of(sleeper.0.id()).unwrap();
        end(&[Identity { started: identity.started + 1, ..identity.clone() }]);
        assert!(sleeper.0.try_wait().unwrap().is_none());
        end(std::slice::from_ref(&identity));
        assert!(!identity.lives(), "a process that was not reaped counts as ended");
    }

    #[test]
    fn the_bits_that_count_are_the_owners_else_the_groups_else_everyones() {
        let path = std::env::temp_dir().join(format!("vmkit-test-bits-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let own = fs::metadata(&path).unwrap();
        let process = |user, group| Process {
            identity: Identity { user, ..Process::own().identity },
            groups: vec![group],
            program: None,
        };
        let stranger = own.uid() + 1;
        for (mode, by_group, by_others) in
            [(0o660, true, false), (0o600, false, false), (0o602, false, true)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = fs::metadata(&path).unwrap();
            assert!(process(own.uid(), own.gid() + 1).may_write(&file));
            assert_eq!(process(stranger, own.gid()).may_write(&file), by_group, "{mode:o}");
            assert_eq!(process(stranger, own.gid() + 1).may_write(&file), by_others, "{mode:o}");
            assert!(process(0, 0).may_write(&file));
        }
        fs::remove_file(&path).unwrap();
    }
}
