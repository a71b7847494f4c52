//! A machine without an init system, in namespaces of its own: its own processes, `/tmp` and `/run`,
//! and all else the machine's outside. It costs milliseconds, and ends with its shell.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::gateway::TOKEN;
use super::{Gateway, Release, scratch, shell};

pub struct Bare {
    /// What the agent sees as `/mnt`: `bin`, `state`, `tmp` and the log.
    folder: PathBuf,
    shell: Child,
    commands: ChildStdin,
}

const PREPARE: &str = r#"
    mount --make-rprivate /
    mount --bind "$0" /mnt
    mount --bind /mnt/tmp /tmp
    mount -t tmpfs none /run
    export JOURNAL_STREAM="$(stat --dereference --format %d:%i /mnt/log)"
    exec sh
"#;

impl Bare {
    /// With this release installed, not started.
    pub fn new(release: &Release, gateway: &Gateway, instance: &str) -> Bare {
        let folder = scratch();
        for name in ["bin", "state", "tmp"] {
            fs::create_dir(folder.join(name)).expect("the folder is the test's own");
        }
        fs::write(folder.join("log"), "").expect("the folder is the test's own");
        fs::copy(&gateway.ca, folder.join("ca.pem")).expect("the gateway has written it");
        // By another process: see write_program.
        let installed = folder.join("bin/vmkit-agent");
        let copied = shell::run(30, "install", &[&release.program, &installed], b"");
        assert!(copied.ok, "{}", copied.stderr);

        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-euc", PREPARE]).arg(&folder).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("VMKIT_AGENT_TOKEN", TOKEN).env("VMKIT_GATEWAY_URL", &gateway.url);
        command.env("VMKIT_CA_FILE", "/mnt/ca.pem").env("VMKIT_INSTANCE_ID", instance);
        command.env("STATE_DIRECTORY", "/mnt/state");
        let mut shell = command.stdin(Stdio::piped()).spawn().expect("util-linux is there");
        let commands = shell.stdin.take().expect("it was piped");
        Bare { folder, shell, commands }
    }

    pub fn start(&mut self) {
        self.say("/mnt/bin/vmkit-agent >>/mnt/log 2>&1 & agent=$!");
    }

    /// SIGKILL for the agent that was started last.
    pub fn kill_agent(&mut self) {
        self.say("kill -KILL $agent; wait $agent 2>/dev/null");
    }

    /// SIGKILL for every process of this machine, at once. None is left, not even a dying one: they
    /// are this shell's to reap.
    pub fn kill_everything(&mut self) {
        self.say("kill -KILL -1; wait");
        self.say("while set -- /proc/[0-9]*; [ $# -gt 1 ]; do sleep 0.01; done");
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn installed(&self) -> PathBuf {
        self.folder.join("bin/vmkit-agent")
    }

    /// The state file's text; empty where there is none.
    pub fn state(&self) -> String {
        fs::read_to_string(self.folder.join("state/upgrade.json")).unwrap_or_default()
    }

    /// The names of all files but the log and the certificate, sorted.
    pub fn files(&self) -> Vec<String> {
        let names = |name: &str| -> Vec<String> {
            let entries = fs::read_dir(self.folder.join(name)).expect("the test's own");
            let names = entries.flatten().map(|entry| entry.path());
            let below = |path: PathBuf| path.strip_prefix(&self.folder).map(Path::to_owned);
            names.flat_map(below).map(|path| path.display().to_string()).collect()
        };
        let mut files = [names("bin"), names("state"), names("tmp")].concat();
        files.sort();
        files
    }

    fn say(&mut self, line: &str) {
        writeln!(self.commands, "{line}").expect("its shell runs");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}{}", self.log(), self.state());
        }
        // The first process of the namespace takes all others with it.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
