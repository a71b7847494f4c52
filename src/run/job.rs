//! The one door for child processes: null standard input, a process group of its own, output read
//! without waiting and in bounded turns, a deadline, and the group's end when the job is dropped.
//!
//! A job has ended once its process was reaped and its pipes were read a last time. End of file
//! is not waited for: a grandchild may hold the pipes for ever.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, wait, waitid,
};

use crate::run::notify;
use crate::run::wait::Waiter;

/// Which of a child's two pipes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pipe {
    Stdout,
    Stderr,
}

/// Where a job stands after a turn.
#[derive(Debug)]
pub enum Progress {
    Running,
    Ended(ExitStatus),
    /// The deadline has passed; the process group was ended.
    TimedOut,
}

/// What every child has in common: who wakes for it, who reaps it, and the variables added to its
/// environment.
pub struct Children {
    waiter: Rc<Waiter>,
    /// The processes of jobs. Reaped together, because as process 1 of a container the agent also
    /// inherits, and has to reap, processes it never started.
    leaders: RefCell<HashMap<Pid, Leader>>,
    environment: Vec<(String, String)>,
}

/// A job's process, the leader of its group.
struct Leader {
    status: Option<ExitStatus>,
    /// Whether the group is still to be ended.
    has_group: bool,
}

/// A running child, its pipes and its deadline. Dropping it ends its process group.
pub struct Job {
    children: Rc<Children>,
    pid: Pid,
    pipes: [Option<OwnedFd>; 2],
    deadline: Instant,
    listening: bool,
}

/// The whole output of a job that says little.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A job whose output is wanted whole, once it has ended.
pub struct Captured {
    job: Job,
    output: Output,
    cut: bool,
}

/// About the most that one turn reads before it looks at the rest of the world again.
const TURN: usize = 64 * 1024;
const CAPTURE_LIMIT: usize = 1024 * 1024;
/// Never inherited by a child, whoever it is: the token, the way to it, and a URL that may hold a
/// password.
const SECRETS: [&str; 3] = ["VMKIT_AGENT_TOKEN", "CREDENTIALS_DIRECTORY", "VMKIT_UPGRADE_REQUEST"];

/// What a child finds in its environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Surroundings<'a> {
    /// What the agent has, without its secrets.
    Usual,
    /// For the upgrader: the same and the proxy's password, with one variable more, which may be a
    /// secret meant for this child.
    With(&'a str, &'a str),
    /// `PATH` and nothing else.
    Bare,
}

impl Children {
    pub fn new(waiter: Rc<Waiter>, environment: Vec<(String, String)>) -> Rc<Children> {
        let leaders = RefCell::new(HashMap::new());
        Rc::new(Children { waiter, leaders, environment })
    }

    /// Starts `program`, looked up on `PATH`, and gives it until `deadline`.
    ///
    /// # Errors
    /// The operating system's own: not found, not permitted, too many processes.
    pub fn start<A: AsRef<OsStr>>(
        self: &Rc<Self>,
        program: &OsStr,
        arguments: impl IntoIterator<Item = A>,
        deadline: Instant,
    ) -> io::Result<Job> {
        self.start_in(Surroundings::Usual, program, arguments, deadline)
    }

    /// As [`Children::start`], with another environment.
    pub fn start_in<A: AsRef<OsStr>>(
        self: &Rc<Self>,
        surroundings: Surroundings,
        program: &OsStr,
        arguments: impl IntoIterator<Item = A>,
        deadline: Instant,
    ) -> io::Result<Job> {
        let mut child = self
            .command(surroundings, program)
            .args(arguments)
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        self.leaders.borrow_mut().insert(pid, Leader { status: None, has_group: true });
        let pipes =
            [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let mut job = Job { children: Rc::clone(self), pid, pipes, deadline, listening: false };
        for pipe in job.pipes.iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        job.listen(true)?;
        Ok(job)
    }

    /// Starts this very binary, also where its file was replaced or removed since.
    pub fn start_self(self: &Rc<Self>, arguments: &[&str], deadline: Instant) -> io::Result<Job> {
        self.start(OsStr::new("/proc/self/exe"), arguments, deadline)
    }

    /// Starts what is to outlive this process. It must leave our process group by itself before
    /// that is ended, and say so on its standard output.
    pub fn start_to_stay<A: AsRef<OsStr>>(
        &self,
        program: &OsStr,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Child> {
        self.command(Surroundings::Usual, program).args(arguments).stderr(Stdio::null()).spawn()
    }

    fn command(&self, surroundings: Surroundings, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in SECRETS.into_iter().chain(notify::VARIABLES) {
            command.env_remove(name);
        }
        match surroundings {
            Surroundings::Usual => {
                command.envs(proxies_without_user(&self.environment));
            }
            Surroundings::With(name, value) => {
                command.env(name, value);
            }
            Surroundings::Bare => {
                command.env_clear();
                command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Does nothing for a while, and says whether a signal has asked for the end.
    pub fn rest(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        while Instant::now() < end && !self.waiter.stopping() {
            self.waiter.set_deadline(Some(end));
            if self.waiter.wait().is_err() {
                break;
            }
            self.reap();
        }
        self.waiter.stopping()
    }

    /// Collects the processes that have ended, our own and those inherited.
    pub fn reap(&self) {
        if !self.waiter.take_child_ended() {
            return;
        }
        let mut leaders = self.leaders.borrow_mut();
        // Until it is reaped, the number is its group's; after that it may be another's.
        for (pid, leader) in leaders.iter_mut() {
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if leader.has_group && matches!(waitid(WaitId::Pid(*pid), how), Ok(Some(_))) {
                leader.end_group(*pid);
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(leader) = leaders.get_mut(&pid) {
                // Where it ended since it was looked at.
                leader.end_group(pid);
                leader.status = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    fn status(&self, pid: Pid) -> Option<ExitStatus> {
        self.leaders.borrow().get(&pid)?.status
    }
}

/// The proxies of our own environment, and of what is `added` to it, that have a user or a password:
/// without them. The way stays the same; who needs the password to go it is told so by the proxy.
fn proxies_without_user(added: &[(String, String)]) -> Vec<(String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let own = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let proxies = own.chain(added.iter().cloned()).filter_map(|(name, value)| {
        let (before, host) = value.rsplit_once('@')?;
        let scheme = before.find("://").map_or("", |end| &before[..end + 3]);
        let stripped = format!("{scheme}{host}");
        name.to_ascii_lowercase().ends_with("_proxy").then_some((name, stripped))
    });
    proxies.collect()
}

impl Leader {
    fn end_group(&mut self, pid: Pid) {
        if std::mem::take(&mut self.has_group) {
            // It may be gone already, which is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Job {
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// For a command that starts a service and ends: OpenRC's supervisor stays in its group.
    pub fn leave_group(&mut self) {
        if let Some(leader) = self.children.leaders.borrow_mut().get_mut(&self.pid) {
            leader.has_group = false;
        }
    }

    /// Whether output wakes the loop. While it doesn't, what the child writes waits in its pipes.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        if self.listening != listening {
            for pipe in self.pipes.iter().flatten() {
                if listening {
                    self.children.waiter.watch_pipe(pipe)?;
                } else {
                    self.children.waiter.ignore_pipe(pipe)?;
                }
            }
            self.listening = listening;
        }
        Ok(())
    }

    /// Hands what has come so far to `sink`, a bounded amount, and says where the job stands.
    pub fn turn(&mut self, now: Instant, mut sink: impl FnMut(Pipe, &[u8])) -> Progress {
        // Asked before the pipes are read: what a reaped process wrote is in them by now.
        let status = self.children.status(self.pid);
        let mut drained = true;
        for (index, pipe) in [Pipe::Stdout, Pipe::Stderr].into_iter().enumerate() {
            drained &= self.drain(index, |bytes| sink(pipe, bytes));
        }
        match status {
            Some(status) if drained => Progress::Ended(status),
            _ if now >= self.deadline => {
                self.end_group();
                Progress::TimedOut
            }
            _ => Progress::Running,
        }
    }

    /// Reads one pipe until it would block or a turn's worth was read; true if nothing is left.
    fn drain(&mut self, index: usize, mut sink: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while let Some(pipe) = &self.pipes[index] {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipes[index] = None,
                Ok(count) => {
                    sink(&buffer[..count]);
                    taken += count;
                    if taken >= TURN {
                        return false;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => self.pipes[index] = None,
            }
        }
        true
    }

    fn end_group(&mut self) {
        if let Some(leader) = self.children.leaders.borrow_mut().get_mut(&self.pid) {
            leader.end_group(self.pid);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end_group();
        self.children.leaders.borrow_mut().remove(&self.pid);
    }
}

impl Captured {
    pub fn new(job: Job) -> Captured {
        Captured { job, output: Output::default(), cut: false }
    }

    pub fn deadline(&self) -> Instant {
        self.job.deadline()
    }

    /// As [`Job::turn`]; the output is kept, up to a mebibyte of each pipe.
    pub fn turn(&mut self, now: Instant) -> Progress {
        let (output, cut) = (&mut self.output, &mut self.cut);
        self.job.turn(now, |pipe, bytes| {
            let kept = match pipe {
                Pipe::Stdout => &mut output.stdout,
                Pipe::Stderr => &mut output.stderr,
            };
            let room = CAPTURE_LIMIT - kept.len();
            *cut |= bytes.len() > room;
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        })
    }

    /// Waits for the end. Not for the loop: for a program that has nothing else to do.
    pub fn finish(mut self) -> io::Result<(Progress, Output)> {
        let children = Rc::clone(&self.job.children);
        loop {
            children.reap();
            match self.turn(Instant::now()) {
                Progress::Running => {
                    children.waiter.set_deadline(Some(self.deadline()));
                    children.waiter.wait()?;
                }
                over => return Ok((over, std::mem::take(&mut self.output))),
            }
        }
    }

    /// Whether there was more than was kept.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn output(&self) -> &Output {
        &self.output
    }
}
