//! The agent under test: a real process with an environment made from nothing, ended with the test.
//!
//! Its stderr is a pipe that it takes for journald's (`JOURNAL_STREAM` names it), so that its log comes
//! here also on a machine where something listens on `/dev/log`.

use std::{
    collections::BTreeMap,
    fs,
    io::{PipeWriter, pipe},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Authority, Fake, PATIENCE, Peer, PrivateRoot, Session, log::Log, poll_until, scratch::Scratch,
};

/// The path of the agent under test: the build that `VMKIT_AGENT_BIN` names, such as a release
/// binary; without this variable the build beside the test binary, which is
/// `<target>/<profile>/deps/<name>-<hash>`.
pub fn agent_program() -> String {
    std::env::var("VMKIT_AGENT_BIN").unwrap_or_else(|_| {
        let this_program = std::env::current_exe().expect("the kernel knows it");
        let profile = this_program.ancestors().nth(2).expect("cargo's layout");
        profile.join("vmkit-agent").display().to_string()
    })
}

/// The agent's token. No log, argument or error may hold it.
pub const TOKEN: &str = "vmkit-test-token-3f9ac1";

/// An agent about to be started.
pub struct Setup {
    scratch: Scratch,
    program: Option<String>,
    root: Option<PrivateRoot>,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    journal: bool,
    stdin: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    unprivileged: bool,
    installed: bool,
}

pub struct Agent {
    child: Child,
    log: Log,
    scratch: Scratch,
    root: Option<PrivateRoot>,
    again: Again,
}

/// Program, arguments and environment of an agent, to start it again.
struct Again {
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// One of the agent's TCP connections.
pub struct Connection {
    pub state: u8,
    /// How much of what the agent has written waits in the kernel.
    pub unsent: usize,
}

impl Setup {
    /// An agent whose gateway is still to come: see [`Agent::registered`].
    pub fn new() -> Setup {
        Setup::url("")
    }

    /// An agent that dials this URL.
    pub fn url(url: impl Into<String>) -> Setup {
        let scratch = Scratch::new();
        let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", scratch.path().display());
        Setup {
            scratch,
            program: None,
            root: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            journal: true,
            stdin: None,
            stderr: None,
            unprivileged: false,
            installed: false,
        }
        .env("PATH", path)
        .env("VMKIT_AGENT_TOKEN", TOKEN)
        .env("VMKIT_INSTANCE_ID", "vmkit-test-instance")
        .env("VMKIT_GATEWAY_URL", url)
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Setup {
        self.environment.remove(name);
        self
    }

    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Has the agent trust this authority.
    pub fn trusting(self, authority: &Authority) -> Setup {
        let path = self.file("ca.pem", authority.pem());
        self.env("VMKIT_CA_FILE", path)
    }

    /// Writes a file beside the agent's own; its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        self.scratch.write(name, text).display().to_string()
    }

    /// Puts a `docker` in front of `PATH`: a shell script with this body.
    pub fn docker(&self, body: &str) -> Fake {
        self.program("docker", body)
    }

    /// Puts another program in front of `PATH`: a shell script with this body.
    pub fn program(&self, name: &str, body: &str) -> Fake {
        Fake::write(&self.scratch.path().join("bin"), name, body)
    }

    /// Gives the agent a root of its own, made ready by `prepare`.
    pub fn in_private_root(mut self, prepare: impl FnOnce(&PrivateRoot)) -> Setup {
        let root = PrivateRoot::new(&self.scratch);
        prepare(&root);
        self.root = Some(root);
        self
    }

    /// Without `JOURNAL_STREAM`: the agent chooses where its log goes.
    pub fn not_under_journald(mut self) -> Setup {
        self.journal = false;
        self
    }

    /// Gives the agent this standard input, which is empty otherwise.
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Setup {
        self.stdin = Some(stdin.into());
        self
    }

    /// Gives the agent this standard error in place of the pipe; its `log` stays empty.
    pub fn stderr(mut self, stderr: impl Into<OwnedFd>) -> Setup {
        self.stderr = Some(stderr.into());
        self
    }

    /// Runs the agent as user 65534, who has no rights; the test has to be root's.
    pub fn unprivileged(mut self) -> Setup {
        self.unprivileged = true;
        self
    }

    /// Runs the agent from a copy of its own, which it may replace, with a state of its own.
    pub fn installed(mut self) -> Setup {
        self.installed = true;
        let state = self.scratch.path().join("state").display().to_string();
        self.env("STATE_DIRECTORY", state)
    }

    /// Runs the agent from the file at this path.
    pub fn at(mut self, path: &str) -> Setup {
        self.program = Some(path.to_owned());
        self
    }

    pub fn start(self) -> Agent {
        let program = match (&self.program, self.installed) {
            (Some(path), _) => path.clone(),
            (None, true) => self.scratch.open_to_all(&agent_program()).display().to_string(),
            (None, false) => agent_program(),
        };
        let mut command = match &self.root {
            Some(root) => root.command(&self.scratch, &program),
            // Ends with the test's thread, also where the test binary itself is killed.
            None => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL"]);
                if self.unprivileged {
                    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                    command.arg(self.scratch.open_to_all(&program));
                } else {
                    command.args(["--", &program]);
                }
                command
            }
        };
        let again = Again {
            program: program.clone(),
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
        };
        let (reader, writer) = pipe().expect("pipes can be made");
        command.args(&self.arguments).env_clear().envs(&self.environment);
        if self.journal {
            command.env("JOURNAL_STREAM", journal_stream(&writer));
        }
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(writer.try_clone().expect("descriptors are left"));
        command.stderr(self.stderr.unwrap_or_else(|| writer.into()));
        command.current_dir("/");
        let child = command.spawn().expect("the agent was built");
        drop(command);
        Agent { child, log: Log::of(reader), scratch: self.scratch, root: self.root, again }
    }
}

/// `device:inode`, as systemd tells a service that its stderr is the journal.
fn journal_stream(stderr: &PipeWriter) -> String {
    let stat = rustix::fs::fstat(stderr.as_fd()).expect("an open descriptor");
    format!("{}:{}", stat.st_dev, stat.st_ino)
}

impl Agent {
    pub fn dialing(peer: &Peer) -> Setup {
        Setup::url(peer.url())
    }

    /// Starts the agent with a plain peer for its gateway, which acknowledges its `register`.
    #[track_caller]
    pub fn registered(setup: Setup) -> (Peer, Agent, Session) {
        let peer = Peer::plain();
        let agent = setup.env("VMKIT_GATEWAY_URL", peer.url()).start();
        let session = peer.accept_registered();
        (peer, agent, session)
    }

    /// Waits for a line of the log that holds all of these words, in any case; returns it.
    #[track_caller]
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        self.wait_for_log_after(0, words, PATIENCE)
    }

    #[track_caller]
    pub fn wait_for_log_after(&self, from: usize, words: &[&str], within: Duration) -> String {
        match self.log.wait_for(from, words, within) {
            Some(line) => line,
            None => panic!("no line with {words:?} within {within:?} in the log"),
        }
    }

    /// The lines so far, each still with journald's priority.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Every line the agent and its children wrote, once all of them have ended.
    #[track_caller]
    pub fn whole_log(&self) -> Vec<String> {
        self.log.wait_for_end(PATIENCE).expect("stderr is closed in the end")
    }

    /// Starts the agent again from the same file, after it has ended; its log begins anew.
    pub fn start_again(&mut self) {
        let (reader, writer) = pipe().expect("pipes can be made");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", &self.again.program]);
        command.args(&self.again.arguments).env_clear().envs(&self.again.environment);
        command.env("JOURNAL_STREAM", journal_stream(&writer)).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(writer).current_dir("/");
        self.child = command.spawn().expect("it was started before");
        self.log = Log::of(reader);
    }

    /// A file beside the agent's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often it has gone to sleep so far, and with that how often it was woken.
    pub fn sleeps(&self) -> u64 {
        poll_until("its status", PATIENCE, || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
            let count = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
            count.trim().parse().ok()
        })
    }

    pub fn root(&self) -> &PrivateRoot {
        self.root.as_ref().expect("an agent in a private root")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("not 0");
        kill_process(pid, signal).expect("it is not reaped yet");
    }

    #[track_caller]
    pub fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        poll_until("the agent's exit", within, || self.child.try_wait().expect("our child"))
    }

    /// Sends a signal and holds the agent to status 0 within a second.
    #[track_caller]
    pub fn assert_exits_on(&mut self, signal: Signal) {
        let started = Instant::now();
        self.signal(signal);
        let status = self.wait_for_exit(PATIENCE);
        let took = started.elapsed();
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(took < Duration::from_secs(1), "it took {took:?}");
    }

    #[track_caller]
    pub fn assert_running(&mut self) {
        let status = self.child.try_wait().expect("our child");
        assert!(status.is_none(), "the agent has ended: {status:?}");
    }

    /// The agent's TCP connections to this port, as `/proc/net/tcp` has them.
    pub fn connections_to(&self, port: u16) -> Vec<Connection> {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).unwrap_or_default();
        let rows = table.lines().skip(1).filter_map(|row| {
            let mut columns = row.split_whitespace().skip(2);
            let remote = columns.next()?.rsplit_once(':')?.1;
            let state = u8::from_str_radix(columns.next()?, 16).ok()?;
            let unsent = usize::from_str_radix(columns.next()?.split_once(':')?.0, 16).ok()?;
            let found = u16::from_str_radix(remote, 16).ok()? == port;
            found.then_some(Connection { state, unsent })
        });
        rows.collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.scratch.end_leftovers();
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log().join("\n"));
        }
    }
}
