//! `dist/install.sh`, run by a shell of the test's choice on a PATH of the test's making.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::{Scratch, TOKEN, repository, said, write_script};

/// Those that it has to run under. busybox takes what it has in itself before what is on `PATH`, so
/// with it no tool can be faked or missing; and the wget of Debian's static one crashes.
pub const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];
/// What it calls, but for what fetches.
const TOOLS: [&str; 13] = [
    "cat",
    "chmod",
    "cp",
    "dirname",
    "env",
    "grep",
    "head",
    "mktemp",
    "rm",
    "sh",
    "sha256sum",
    "tail",
    "tr",
];

pub struct Script {
    shell: &'static [&'static str],
    scratch: Scratch,
    environment: Vec<(String, String)>,
    text: PathBuf,
}

impl Script {
    /// With curl, as root, on this very kind of machine.
    pub fn with_curl(shell: &'static [&'static str]) -> Script {
        let text = repository("dist/install.sh");
        let script = Script { shell, scratch: Scratch::new(), environment: Vec::new(), text };
        for tool in TOOLS.iter().chain(&["curl"]) {
            script.link(tool);
        }
        // Whoever runs the tests: what it would install is not the agent.
        script.fake("id", "echo 0");
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        script.on_machine(&machine)
    }

    /// The script as `make dist` makes it with this release key.
    pub fn with_release_key(mut self, key: &str) -> Script {
        let file = self.scratch.path().join("install.sh");
        let mut installer = Command::new(repository("dist/build/installer"));
        let output = installer.arg(&file).env("RELEASE_PUBKEY", key).output();
        let output = output.expect("it can be run");
        assert!(output.status.success(), "{}", said(&output));
        self.text = file;
        self
    }

    /// Puts the real minisign on `PATH`, to verify with.
    pub fn with_minisign(self) -> Script {
        self.link("minisign");
        self
    }

    pub fn on_machine(self, machine: &str) -> Script {
        let body = format!("case $1 in -s) echo Linux ;; -m) echo {machine} ;; esac");
        self.fake("uname", &body);
        self
    }

    /// wget in place of curl.
    pub fn with_wget(self) -> Script {
        let script = self.without("curl");
        script.link("wget");
        script
    }

    pub fn without(self, tool: &str) -> Script {
        let path = self.bin().join(tool);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Script {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn fake(&self, name: &str, body: &str) {
        write_script(&self.bin().join(name), body);
    }

    /// A file beside all else.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.scratch.write(name, content)
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.arg(&self.text).args(arguments);
        let output = command.output().expect("it was started before");
        self.check(&output)
    }

    /// Runs the script, or its first part, from standard input, as `curl ... | sh` does.
    #[track_caller]
    pub fn pipe(&self, text: &[u8], arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.arg("-s").arg("--").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it was started before");
        // A shell that gave up reads no more.
        let _ = child.stdin.take().expect("piped").write_all(text);
        let output = child.wait_with_output().expect("our child");
        self.check(&output)
    }

    /// How the program was called, if it was: its arguments and its token.
    pub fn record(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.scratch.path().join("record")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// The files that were left in the folder for temporary files.
    pub fn litter(&self) -> usize {
        fs::read_dir(self.scratch.path().join("tmp")).expect("the test's own").count()
    }

    #[track_caller]
    fn check(&self, output: &Output) -> Output {
        assert!(!said(output).contains(TOKEN), "{}", said(output));
        assert_eq!(self.litter(), 0, "it has left something behind: {}", said(output));
        output.clone()
    }

    fn command(&self) -> Command {
        let tmp = self.scratch.path().join("tmp");
        fs::create_dir_all(&tmp).expect("the test's own");
        let mut command = Command::new(find("timeout"));
        command.arg("30").arg(find(self.shell[0])).args(&self.shell[1..]);
        command.env_clear().env("PATH", self.bin()).env("TMPDIR", tmp).stdin(Stdio::null());
        command.env("RECORD", self.scratch.path().join("record"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn link(&self, tool: &str) {
        symlink(find(tool), self.bin().join(tool)).expect("the test's own");
    }

    fn bin(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }
}

#[track_caller]
fn find(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("cargo has one");
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(tool));
    found.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("no {tool} here; as root on a Debian: apt-get install dash busybox-static curl wget")
    })
}
