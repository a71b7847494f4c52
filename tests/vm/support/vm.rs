//! One machine: a container in which systemd is the first process. It boots in a second or two, has
//! the test machine's network, and is gone when dropped.

use std::path::Path;
use std::time::Duration;

use super::journal::{self, Line};
use super::shell::{self, Output, docker};
use super::{PATIENCE, cleanup, image, poll_until, unique};

pub struct Vm {
    name: String,
}

impl Vm {
    /// A new machine, up and running.
    #[track_caller]
    pub fn boot() -> Vm {
        let vm = Vm { name: unique() };
        let mut arguments = vec!["run", "--detach", "--name", &vm.name, "--hostname", "vm"];
        arguments.extend(["--label", cleanup::label(), "--network", "host"]);
        // What systemd needs to be the first process. SIGTERM would only have it start anew.
        arguments.extend(["--cap-add", "SYS_ADMIN", "--stop-signal", "SIGRTMIN+3"]);
        arguments.extend(["--security-opt", "seccomp=unconfined"]);
        arguments.extend(["--security-opt", "apparmor=unconfined"]);
        arguments.extend(["--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]);
        arguments.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock"]);
        arguments.extend([image::name(), "/sbin/init"]);
        docker(&arguments);
        vm.wait_until_up();
        vm
    }

    #[track_caller]
    fn wait_until_up(&self) {
        let state = poll_until("the machine's boot", PATIENCE, || {
            let state = self.try_sh("systemctl is-system-running").stdout;
            ["running", "degraded"].contains(&state.as_str()).then_some(state)
        });
        if state == "degraded" {
            panic!("the machine came up with failed units: {}", self.sh("systemctl --failed"));
        }
    }

    /// Pulls the plug: no process in it hears of it.
    #[track_caller]
    pub fn kill(&self) {
        docker(&["kill", "--signal", "KILL", &self.name]);
        docker(&["wait", &self.name]);
    }

    /// Boots it again, with the disk as it was left.
    #[track_caller]
    pub fn start(&self) {
        docker(&["start", &self.name]);
        self.wait_until_up();
    }

    /// Shuts it down in order and boots it again.
    #[track_caller]
    pub fn reboot(&self) {
        docker(&["restart", "--time", "60", &self.name]);
        self.wait_until_up();
    }

    /// Runs a shell script as root; what it prints.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.ok, "in the machine, {script}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    pub fn try_sh(&self, script: &str) -> Output {
        self.sh_with(script, b"")
    }

    fn sh_with(&self, script: &str, input: &[u8]) -> Output {
        let arguments = ["exec", "--interactive", &self.name, "sh", "-euc", script];
        shell::run(120, "docker", &arguments, input)
    }

    /// Writes a file, of root and for root alone.
    #[track_caller]
    pub fn write(&self, path: &str, content: &[u8]) {
        let folder = Path::new(path).parent().expect("an absolute path").display();
        let script = format!("umask 077; mkdir -p -m 755 '{folder}'; cat > '{path}'");
        let output = self.sh_with(&script, content);
        assert!(output.ok, "writing {path} in the machine: {}", output.stderr);
    }

    /// Puts a program there, as `install` would: what runs from there goes on with what it has.
    #[track_caller]
    pub fn install(&self, program: &Path, path: &str) {
        docker(&["cp", &program.display().to_string(), &format!("{}:{path}.part", self.name)]);
        self.sh(&format!(
            "chown 0:0 '{path}.part'; chmod 755 '{path}.part'; mv '{path}.part' '{path}'"
        ));
    }

    pub fn sha256(&self, path: &str) -> String {
        self.sh(&format!("sha256sum '{path}'")).chars().take(64).collect()
    }

    /// A property of a unit, as `systemctl show` has it.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --property '{property}' --value '{unit}'"))
    }

    /// The unit's main process; 0 where it has none.
    #[track_caller]
    pub fn main_pid(&self, unit: &str) -> u32 {
        self.property(unit, "MainPID").parse().expect("a number")
    }

    /// The journal of a unit, as `journalctl --unit` selects it, from all boots.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> Vec<Line> {
        // What a process has written may still be on its way to the file.
        let script = format!("journalctl --sync; journalctl --unit '{unit}' --output json --all");
        journal::parse(&self.sh(&script))
    }

    /// Waits for a line of this unit's journal, at `from` or later, that holds all of these words, in any case.
    #[track_caller]
    pub fn wait_for_journal(
        &self,
        unit: &str,
        from: usize,
        words: &[&str],
        within: Duration,
    ) -> Line {
        let what = format!("a line with {words:?} in the journal of {unit}");
        poll_until(&what, within, || {
            self.journal(unit).into_iter().skip(from).find(|line| line.holds(words))
        })
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal =
                self.try_sh("journalctl --no-pager --output short-precise -u 'vmkit-agent*'");
            eprintln!("the machine's journal:\n{}{}", journal.stdout, journal.stderr);
        }
        let _ = shell::run(60, "docker", &["rm", "--force", "--volumes", &self.name], b"");
    }
}
