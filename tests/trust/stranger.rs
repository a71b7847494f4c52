//! Another user of the machine: one without any rights, and a shell.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{PATIENCE, is_running, poll_until};

/// A process of user 65534's.
pub struct Stranger {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Stranger {
    /// Runs a shell script with these arguments.
    pub fn runs(script: &str, arguments: &[&str]) -> Stranger {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["/bin/sh", "-euc", script, "sh"]).args(arguments).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("util-linux is there");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Stranger { child, stdin, stdout }
    }

    /// Runs the real program, from where anybody may run it, as an agent of nobody's.
    #[track_caller]
    pub fn runs_agent(path: &str) -> Stranger {
        let script = "export VMKIT_AGENT_TOKEN=theirs VMKIT_GATEWAY_URL=ws://127.0.0.1:1/\n\
                      exec \"$1\" run";
        let stranger = Stranger::runs(script, &[path]);
        let program = format!("/proc/{}/exe", stranger.pid());
        poll_until("another user's agent", PATIENCE, || {
            fs::read_link(&program).is_ok_and(|program| program == *path).then_some(())
        });
        stranger
    }

    /// Has done all that the script says.
    #[track_caller]
    pub fn has_run(script: &str, arguments: &[&str]) {
        let status = Stranger::runs(script, arguments).child.wait().expect("our child");
        assert!(status.success(), "{script}: {status}");
    }

    /// Has the file or folder open, to lock it when it comes to that.
    pub fn eyeing(path: &str) -> Stranger {
        let script = "exec 9<\"$1\"; echo open; read go; flock 9; echo held; exec sleep infinity";
        let mut stranger = Stranger::runs(script, &[path]);
        assert!(stranger.says("open"), "{path} is for everyone to read");
        stranger
    }

    /// Locks what it eyes, once nobody else has it locked, and holds it for good.
    pub fn locks(&mut self) {
        writeln!(self.stdin, "go").expect("it waits for this");
        assert!(self.says("held"), "what is open can be locked");
    }

    pub fn locking(path: &str) -> Stranger {
        let mut stranger = Stranger::eyeing(path);
        stranger.locks();
        stranger
    }

    /// Whether this is the next line that it says.
    pub fn says(&mut self, line: &str) -> bool {
        let mut said = String::new();
        self.stdout.read_line(&mut said).expect("a pipe can be read");
        said.trim_end() == line
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn lives(&self) -> bool {
        is_running(self.pid())
    }
}
