//! The agent that is measured: a real process with an environment made from nothing, and what `/proc`
//! says of it.
//!
//! Its log goes to a file that it takes for the journal, so that nothing has to read along.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::PATIENCE;
use crate::workplace::{MARK, kill, starting};
use crate::world::World;

/// Which docker the agent finds.
#[derive(Clone, Copy)]
pub enum Docker {
    Real,
    Fake,
}

pub struct Agent {
    child: Child,
    mark: PathBuf,
    /// Just before the process was made.
    pub started: Instant,
}

impl Agent {
    pub fn start(world: &World, url: &str, docker: Docker) -> Agent {
        // Ends with the bench, also where that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&world.agent);
        Agent::spawn(command, world, url, docker)
    }

    /// Without anything between the bench and the agent that would take time of its own.
    pub fn exec(world: &World, url: &str) -> Agent {
        Agent::spawn(Command::new(&world.agent), world, url, Docker::Real)
    }

    fn spawn(mut command: Command, world: &World, url: &str, docker: Docker) -> Agent {
        let mark = world.place.next_path();
        let log = File::create(mark.with_extension("log")).expect("the directory is the bench's");
        let stat = log.metadata().expect("an open file");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(MARK, &mark)
            .env("STATE_DIRECTORY", mark.with_extension("state"))
            .env("VMKIT_AGENT_TOKEN", "vmkit-test-bench-token")
            .env("VMKIT_INSTANCE_ID", "vmkit-test-bench")
            .env("VMKIT_GATEWAY_URL", url)
            .env("VMKIT_CA_FILE", &world.ca_file)
            .env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino()))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (name, value) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DOCKER_") {
                command.env(name, value);
            }
        }
        if let Docker::Fake = docker {
            command.env("VMKIT_DOCKER_BIN", world.fake.path());
        }
        let _starting = starting();
        let started = Instant::now();
        let child = command.spawn().expect("AGENT and setpriv (util-linux) can be run");
        Agent { child, mark, started }
    }

    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it is not reaped yet");
    }

    /// Until it has ended with status 0.
    pub fn wait_for_exit(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(Instant::now() < deadline, "the agent did not exit");
            std::thread::sleep(Duration::from_micros(200));
        };
        assert!(status.success(), "the agent ended with {status}");
    }

    /// Resident memory now, in bytes, counted page by page: `VmRSS` may be behind by some.
    pub fn resident(&self) -> u64 {
        self.kilobytes("smaps_rollup", "Rss:")
    }

    /// What of it is this process's own and backed by no file, in bytes.
    pub fn private(&self) -> u64 {
        self.kilobytes("smaps_rollup", "Anonymous:")
    }

    /// The most that was ever resident, in bytes.
    pub fn peak(&self) -> u64 {
        self.kilobytes("status", "VmHWM:")
    }

    pub fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).expect("it runs").count()
    }

    /// How often it has gone to sleep of its own will.
    pub fn sleeps(&self) -> u64 {
        self.number("status", "voluntary_ctxt_switches:")
    }

    /// Processor time so far.
    pub fn cpu_time(&self) -> Duration {
        let text = fs::read_to_string(self.proc("schedstat")).expect("it runs");
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanoseconds.expect("as the kernel writes it"))
    }

    fn kilobytes(&self, file: &str, field: &str) -> u64 {
        self.number(file, field) * 1024
    }

    fn number(&self, file: &str, field: &str) -> u64 {
        let text = fs::read_to_string(self.proc(file)).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {field} in {}", self.proc(file).display()))
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Once the bench has been ended, nothing is to be done or said here.
        let _starting = starting();
        let _ = self.child.kill();
        let _ = self.child.wait();
        kill(|mark| Path::new(mark) == self.mark);
        if std::thread::panicking() {
            let log = fs::read_to_string(self.mark.with_extension("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(10).collect();
            for line in lines.iter().rev() {
                eprintln!("  the agent: {line}");
            }
        }
    }
}
