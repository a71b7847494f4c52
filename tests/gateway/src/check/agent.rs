//! The agent under test as a process, and its supervisor: what an init system would be to it. An
//! agent that ends is started again, and so is an agent whose restart command was run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::scratch::Scratch;

/// The file that `VMKIT_RESTART_CMD` makes.
const RESTART: &str = "restart";
const LOOK: Duration = Duration::from_millis(10);
/// An agent that is asked to stop and does not is killed.
const STOP: Duration = Duration::from_secs(4);

/// util-linux has it; other machines do without.
static HAS_SETPRIV: LazyLock<bool> = LazyLock::new(|| {
    Command::new("setpriv").arg("--version").output().is_ok_and(|run| run.status.success())
});

pub struct Agent {
    inner: Arc<Inner>,
    supervisor: Option<JoinHandle<()>>,
}

struct Inner {
    scratch: Scratch,
    arguments: Vec<String>,
    environment: Mutex<BTreeMap<String, String>>,
    child: Mutex<Option<Child>>,
    /// Whether an agent that ends is started again.
    supervised: AtomicBool,
    over: AtomicBool,
}

impl Agent {
    /// Copies the program into a folder of its own. It is not started yet.
    pub fn new(scratch: Scratch, command: &[String]) -> io::Result<Agent> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::other("no program"));
        };
        let inner = Arc::new(Inner {
            arguments: arguments.to_vec(),
            environment: Mutex::new(environment(scratch.path())),
            child: Mutex::default(),
            supervised: AtomicBool::new(true),
            over: AtomicBool::new(false),
            scratch,
        });
        fs::create_dir_all(inner.scratch.path().join("state"))?;
        install(program.as_ref(), &inner.installed())?;
        let supervisor = inner.clone();
        // A thread: it also has to work while a check keeps tokio busy, and it reaps.
        let supervisor =
            Builder::new().name("supervisor".into()).spawn(move || supervisor.watch())?;
        Ok(Agent { inner, supervisor: Some(supervisor) })
    }

    pub fn folder(&self) -> &Path {
        self.inner.scratch.path()
    }

    /// The installed binary.
    pub fn installed(&self) -> PathBuf {
        self.inner.installed()
    }

    /// Sets a variable from the next start on, or removes it.
    pub fn set(&self, name: &str, value: Option<&str>) {
        let mut environment = self.inner.environment.lock();
        match value {
            Some(value) => environment.insert(name.to_owned(), value.to_owned()),
            None => environment.remove(name),
        };
    }

    /// Kills it where it runs, and starts it.
    pub fn restart(&self) -> io::Result<()> {
        self.kill();
        self.inner.supervised.store(true, Ordering::Relaxed);
        self.inner.start()
    }

    /// Ends it for good, until the next [`Agent::restart`].
    pub fn kill(&self) {
        self.inner.supervised.store(false, Ordering::Relaxed);
        if let Some(mut child) = self.inner.child.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// From now on an agent that ends stays so.
    pub fn let_end(&self) {
        self.inner.supervised.store(false, Ordering::Relaxed);
    }

    pub fn signal(&self, signal: Signal) {
        self.inner.signal(signal);
    }

    pub fn pid(&self) -> Option<u32> {
        self.inner.child.lock().as_ref().map(Child::id)
    }

    pub fn is_running(&self) -> bool {
        let mut child = self.inner.child.lock();
        child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts it once more beside the first, with one more argument, such as `doctor`.
    pub fn start_other(&self, last: &str) -> io::Result<Child> {
        self.inner.command().arg(last).stderr(Stdio::null()).spawn()
    }

    /// The end of what it has written to its standard error.
    pub fn last_words(&self) -> String {
        let log = fs::read(self.folder().join("agent.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log).into_owned();
        text.lines().last().unwrap_or("it has written nothing").to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::Relaxed);
        self.kill();
        // It holds the folder too, which has to be gone before this process ends.
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
        end_all_of(self.folder());
    }
}

impl Inner {
    fn installed(&self) -> PathBuf {
        self.scratch.path().join("vmkit-agent")
    }

    fn command(&self) -> Command {
        // So the agent ends with the kit also where the kit is killed.
        let mut command = match *HAS_SETPRIV {
            true => Command::new("setpriv"),
            false => Command::new(self.installed()),
        };
        if *HAS_SETPRIV {
            command.args(["--pdeathsig", "KILL", "--"]).arg(self.installed());
        }
        command.args(&self.arguments).env_clear().envs(&*self.environment.lock());
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
        command
    }

    fn start(&self) -> io::Result<()> {
        let _ = fs::remove_file(self.scratch.path().join(RESTART));
        let path = self.scratch.path().join("agent.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(path)?;
        *self.child.lock() = Some(self.command().stderr(log).spawn()?);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock();
        let pid = child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed()));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    fn watch(&self) {
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            if !self.supervised.load(Ordering::Relaxed) {
                continue;
            }
            if fs::remove_file(self.scratch.path().join(RESTART)).is_ok() {
                self.signal(Signal::TERM);
                self.wait_for_end();
            }
            let mut child = self.child.lock();
            let has_ended = child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None)));
            drop(child);
            // Twice, because another thread may have ended it on purpose in between.
            if has_ended && self.supervised.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                // A binary that can't be started is tried again at the next look.
                let _ = self.start();
            }
        }
    }

    fn wait_for_end(&self) {
        let deadline = Instant::now() + STOP;
        loop {
            let mut child = self.child.lock();
            let Some(running) = child.as_mut() else { return };
            if !matches!(running.try_wait(), Ok(None)) {
                return;
            }
            if Instant::now() > deadline {
                let _ = running.kill();
            }
            drop(child);
            std::thread::sleep(LOOK);
        }
    }
}

/// Ends what an agent has left behind: whoever watches over a trial goes on without it, and would write
/// its state into a folder that is gone.
fn end_all_of(folder: &Path) {
    let place = folder.display().to_string() + "/";
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids.filter(|pid| *pid != std::process::id().cast_signed()) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.split('\0').any(|word| word.starts_with(&place))
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// By another process: while this one had the file open for writing, a start of any program at that
/// moment would make the start of the agent fail with ETXTBSY.
fn install(from: &Path, to: &Path) -> io::Result<()> {
    let done = Command::new("install").args(["-m", "755"]).args([from, to]).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "can't copy {}: {}",
            from.display(),
            String::from_utf8_lossy(&done.stderr).trim()
        ))),
    }
}

fn environment(folder: &Path) -> BTreeMap<String, String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let restart = format!("touch '{}'", path(RESTART));
    let own = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("VMKIT_DOCKER_BIN", path("docker")),
        ("VMKIT_LABELS", "env=check,role=kit".to_owned()),
        ("VMKIT_RESTART_CMD", restart),
        ("STATE_DIRECTORY", path("state")),
    ];
    own.map(|(name, value)| (name.to_owned(), value)).into()
}
