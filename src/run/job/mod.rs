//! The one door for child processes. A job has empty standard input, a process group of its own and
//! a deadline. Its output is read without waiting, a bounded amount each turn. Dropping a job kills
//! its group.
//!
//! A job has ended once its process was reaped and its pipes were read a last time. Nobody waits for
//! end of file: a grandchild may hold the pipes for ever.

use std::cell::RefCell;
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

use crate::run::wait::Waiter;
use crate::run::{notify, variables};

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
    /// The deadline has passed, and the process group was killed.
    TimedOut,
}

/// The children of this program: they wake its one waiter, are reaped together, and share the
/// variables added to their environment.
pub struct Children {
    waiter: Rc<Waiter>,
    /// The processes of jobs, reaped together: as process 1 of a container the agent also has to
    /// reap processes that it never started.
    leaders: RefCell<Vec<Leader>>,
    environment: Vec<(String, String)>,
}

/// A job's process, the leader of its group.
struct Leader {
    pid: Pid,
    status: Option<ExitStatus>,
    /// Whether the group still has to be killed.
    has_group: bool,
}

/// A running child, its pipes and its deadline. Dropping the job kills the process group.
pub struct Job {
    children: Rc<Children>,
    pid: Pid,
    pipes: [Option<OwnedFd>; 2],
    deadline: Instant,
    listening: bool,
}

/// The output of a [`Captured`] job.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A job whose output is kept until it has ended.
pub struct Captured {
    job: Job,
    output: Output,
}

/// About the number of bytes that one turn reads from a pipe.
const TURN: usize = 64 * 1024;
/// Bytes that are kept of each pipe's output.
const CAPTURE_LIMIT: usize = 1024 * 1024;

/// A child's environment. None has the agent's secrets ([`variables::SECRETS`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Surroundings<'a> {
    /// The agent's, without the proxy's user and password.
    Usual,
    /// For the upgrader: the agent's, with one variable more. Its value may be a secret meant for
    /// this child.
    With(&'a str, &'a str),
    /// `PATH` and nothing else.
    Bare,
}

impl Children {
    pub fn new(waiter: Rc<Waiter>, environment: Vec<(String, String)>) -> Rc<Children> {
        let leaders = RefCell::default();
        Rc::new(Children { waiter, leaders, environment })
    }

    /// Starts `program`, looked up on `PATH`, and gives it until `deadline`.
    ///
    /// # Errors
    /// The operating system's: not found, not permitted, too many processes.
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
        self.forget(pid);
        self.leaders.borrow_mut().push(Leader { pid, status: None, has_group: true });
        let pipes =
            [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let mut job = Job { children: Rc::clone(self), pid, pipes, deadline, listening: false };
        for pipe in job.pipes.iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        job.listen(true)?;
        Ok(job)
    }

    /// Starts this very binary, also if its file was replaced or removed since.
    pub fn start_self(self: &Rc<Self>, arguments: &[&str], deadline: Instant) -> io::Result<Job> {
        self.start(OsStr::new("/proc/self/exe"), arguments, deadline)
    }

    /// Starts a process that outlives this one. It has to leave this process group by itself, and
    /// say so on its standard output.
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
        for name in variables::SECRETS.into_iter().chain(notify::VARIABLES) {
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

    /// Reaps the processes that have ended, the agent's own and those inherited.
    pub fn reap(&self) {
        if !self.waiter.take_child_ended() {
            return;
        }
        let mut leaders = self.leaders.borrow_mut();
        // The group's number is certain only until its leader is reaped.
        for leader in leaders.iter_mut() {
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if leader.has_group && matches!(waitid(WaitId::Pid(leader.pid), how), Ok(Some(_))) {
                leader.end_group();
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(leader) = leaders.iter_mut().find(|leader| leader.pid == pid) {
                // It may have ended since the loop above.
                leader.end_group();
                leader.status = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    /// What `change` makes of the leader with this number, if there is one.
    fn leader<T>(&self, pid: Pid, change: impl FnOnce(&mut Leader) -> T) -> Option<T> {
        self.leaders.borrow_mut().iter_mut().find(|leader| leader.pid == pid).map(change)
    }

    fn forget(&self, pid: Pid) {
        self.leaders.borrow_mut().retain(|leader| leader.pid != pid);
    }
}

/// The proxy variables of this process and of `added` that have a user or a password, without both.
/// A child keeps its proxy. If it needs the password, the proxy's answer says so.
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
    fn end_group(&mut self) {
        if std::mem::take(&mut self.has_group) {
            // An error means that the group is gone already.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

impl Job {
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The group is not killed at the job's end. For a command that starts a service: OpenRC's
    /// supervisor stays in the command's group.
    pub fn leave_group(&mut self) {
        self.children.leader(self.pid, |leader| leader.has_group = false);
    }

    /// Whether output wakes the loop. If not, the child's output waits in its pipes.
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

    /// Hands a bounded amount of output to `sink`, and says where the job stands.
    pub fn turn(&mut self, now: Instant, sink: impl FnMut(Pipe, &[u8])) -> Progress {
        self.turn_within(now, TURN, sink)
    }

    /// As [`Job::turn`]: of each pipe about `limit` bytes at most.
    pub fn turn_within(
        &mut self,
        now: Instant,
        limit: usize,
        mut sink: impl FnMut(Pipe, &[u8]),
    ) -> Progress {
        // Before the pipes are read: all that a reaped process wrote is in them by now.
        let status = self.children.leader(self.pid, |leader| leader.status).flatten();
        let mut drained = true;
        for (index, pipe) in [Pipe::Stdout, Pipe::Stderr].into_iter().enumerate() {
            drained &= self.drain(index, limit, |bytes| sink(pipe, bytes));
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

    /// Reads one pipe until it would block or `limit` bytes were read. True if nothing is left.
    fn drain(&mut self, index: usize, limit: usize, mut sink: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; 16 * 1024];
        let piece = limit.min(buffer.len());
        let mut taken = 0;
        while let Some(pipe) = &self.pipes[index] {
            match rustix::io::read(pipe, &mut buffer[..piece]) {
                Ok(0) => self.pipes[index] = None,
                Ok(count) => {
                    sink(&buffer[..count]);
                    taken += count;
                    if taken >= limit {
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
        self.children.leader(self.pid, Leader::end_group);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end_group();
        self.children.forget(self.pid);
    }
}

impl Captured {
    pub fn new(job: Job) -> Captured {
        Captured { job, output: Output::default() }
    }

    pub fn deadline(&self) -> Instant {
        self.job.deadline()
    }

    /// As [`Job::listen`].
    ///
    /// # Errors
    /// The operating system's own.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        self.job.listen(listening)
    }

    /// As [`Job::turn`]. The output is kept, up to 1 MiB of each pipe.
    pub fn turn(&mut self, now: Instant) -> Progress {
        let output = &mut self.output;
        self.job.turn(now, |pipe, bytes| {
            let kept = match pipe {
                Pipe::Stdout => &mut output.stdout,
                Pipe::Stderr => &mut output.stderr,
            };
            let room = CAPTURE_LIMIT - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        })
    }

    /// Waits for the end. Not for the loop, which never waits.
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

    pub fn output(&self) -> &Output {
        &self.output
    }
}

#[cfg(test)]
mod tests;
