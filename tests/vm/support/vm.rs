//! One machine: a container with a real init system as its first process. It boots in a second or
//! two, has the test machine's network, and is gone when dropped.

use std::path::Path;

use super::shell::{self, Output, docker};
use super::{PATIENCE, cleanup, image, poll_until, unique};

/// The kind of a machine's first process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Systemd,
    /// Started by busybox init, with busybox as the shell and syslogd.
    OpenRc,
}

pub struct Vm {
    name: String,
    kind: Kind,
}

impl Vm {
    /// A new machine with systemd, up and running.
    #[track_caller]
    pub fn boot() -> Vm {
        let vm = Vm::power_on(Kind::Systemd, &[]);
        vm.wait_until_up();
        vm
    }

    /// A new machine that has only begun to boot. `options` are docker's.
    #[track_caller]
    pub fn power_on(kind: Kind, options: &[String]) -> Vm {
        let vm = Vm { name: unique(), kind };
        let mut arguments = vec!["run", "--detach", "--name", &vm.name, "--hostname", "vm"];
        arguments.extend(["--label", cleanup::label(), "--network", "host"]);
        // What an init system needs to be the first process.
        arguments.extend(["--cap-add", "SYS_ADMIN", "--tmpfs", "/run"]);
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend(match kind {
            Kind::Systemd => SYSTEMD,
            Kind::OpenRc => OPENRC,
        });
        arguments.push(image::name(kind));
        arguments.extend(match kind {
            Kind::Systemd => ["/sbin/init"].as_slice(),
            Kind::OpenRc => &["/bin/busybox", "init"],
        });
        docker(&arguments);
        vm
    }

    #[track_caller]
    pub fn wait_until_up(&self) {
        match self.kind {
            Kind::Systemd => {
                let state = self.wait_for_boot();
                if state == "degraded" {
                    let failed = self.sh("systemctl --failed");
                    panic!("the machine came up with failed units: {failed}");
                }
            }
            // The last thing that its boot starts but for the agent.
            Kind::OpenRc => poll_until("the machine's boot", PATIENCE, || {
                self.try_sh("rc-service syslogd status").ok.then_some(())
            }),
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
}

impl Drop for Vm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.try_sh(match self.kind {
                Kind::Systemd => "journalctl --no-pager --output short-precise -u 'vmkit-agent*'",
                Kind::OpenRc => "cat /var/log/messages",
            });
            eprintln!("the machine's log:\n{}{}", log.stdout, log.stderr);
        }
        let _ = shell::run(60, "docker", &["rm", "--force", "--volumes", &self.name], b"");
    }
}

const SYSTEMD: &[&str] = &[
    // SIGTERM would only have it start anew.
    "--stop-signal=SIGRTMIN+3",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--tmpfs=/run/lock",
];
/// busybox halts by a system call, which is the container's own.
const OPENRC: &[&str] = &["--cap-add=SYS_BOOT"];
