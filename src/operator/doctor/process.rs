//! A process as `/proc` has it: who it is, what it may write to, and which file it runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub struct Process {
    pub pid: u32,
    pub user: u32,
    groups: Vec<u32>,
    /// The file it was started from, where this user may know.
    pub program: Option<PathBuf>,
    /// That file is no longer there, or another one is.
    pub replaced: bool,
}

impl Process {
    pub fn own() -> Process {
        let pid = std::process::id();
        let nobody = || Process {
            pid,
            user: rustix::process::geteuid().as_raw(),
            groups: Vec::new(),
            program: None,
            replaced: false,
        };
        Process::find(pid).unwrap_or_else(nobody)
    }

    pub fn find(pid: u32) -> Option<Process> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ids = |name| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace().flat_map(str::parse).collect()
        };
        // Real, effective, saved, for files.
        let user = *ids("Uid:").get(1)?;
        let mut groups = ids("Groups:");
        groups.extend(ids("Gid:").get(1));
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let shown = program.as_ref().map(|program| program.to_string_lossy());
        let gone = shown.as_ref().and_then(|shown| shown.strip_suffix(" (deleted)"));
        let (program, replaced) = match gone.map(PathBuf::from) {
            Some(gone) => (Some(gone), true),
            None => (program, false),
        };
        Some(Process { pid, user, groups, program, replaced })
    }

    /// The agent that was started from `installed`, where nobody else knows which one that is.
    pub fn agent(installed: &Path) -> Option<Process> {
        let numbers = fs::read_dir("/proc").ok()?.flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Process::find).find(|process| {
            process.program.as_deref() == Some(installed)
                && process.pid != std::process::id()
                && process.is_in_this_root()
                && process.is_agent()
        })
    }

    /// The variables it was started with, where this user may know.
    pub fn environment(&self) -> Vec<(String, String)> {
        let bytes = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let variables = text.split('\0').filter_map(|variable| variable.split_once('='));
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether systemd has started it as the service.
    pub fn is_service(&self) -> bool {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid));
        groups.is_ok_and(|groups| groups.contains("/vmkit-agent.service"))
    }

    /// What this process sees at `path`, as a path of ours; as it is where we may not look.
    pub fn view(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        match fs::metadata(&root) {
            Ok(_) => root.join(path.strip_prefix("/").unwrap_or(path)),
            Err(_) => path.to_owned(),
        }
    }

    /// As the bits of its mode have it.
    pub fn may_write(&self, file: &fs::Metadata) -> bool {
        let bit = if file.uid() == self.user {
            0o200
        } else if self.groups.contains(&file.gid()) {
            0o020
        } else {
            0o002
        };
        self.user == 0 || file.mode() & bit != 0
    }

    /// Not one of a container that has the same path in a root of its own.
    fn is_in_this_root(&self) -> bool {
        let place = |path: &str| fs::metadata(path).map(|root| (root.dev(), root.ino())).ok();
        place(&format!("/proc/{}/root", self.pid)) == place("/")
    }

    /// And no doctor, nor another command.
    fn is_agent(&self) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        matches!(arguments.split(|byte| *byte == 0).nth(1), None | Some(b"" | b"run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself() {
        let process = Process::own();
        assert_eq!(process.user, rustix::process::geteuid().as_raw());
        assert!(process.program.as_ref().is_some_and(|program| program.is_file()));
        assert!(!process.replaced && !process.is_agent() || process.is_in_this_root());
    }

    #[test]
    fn the_bits_that_count_are_the_owners_else_the_groups_else_everyones() {
        let path = std::env::temp_dir().join(format!("vmkit-test-bits-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let own = fs::metadata(&path).unwrap();
        let process = |user, group| Process {
            pid: 1,
            user,
            groups: vec![group],
            program: None,
            replaced: false,
        };
        let stranger = own.uid() + 1;
        for (mode, by_group, by_others) in
            [(0o660, true, false), (0o600, false, false), (0o602, false, true)]
        {
            use std::os::unix::fs::PermissionsExt;
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
