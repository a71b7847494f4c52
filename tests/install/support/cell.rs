//! A root of its own for an installation: its own `/etc`, `/run`, `/var` and `/usr/local`, and the
//! machine's `/usr` otherwise, so that what is installed is found where it belongs and is gone
//! with the test. A mount namespace and a chroot, so it takes root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vmkit_test_support::{ENTER_ROOT, Scratch, TOKEN, agent_program, said};

/// systemd's commands, of a service manager that does as it is told and writes it down.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd /vmkit-test
case "$*" in
*InvocationID*) echo 0123; exit ;;
show*) cat active enabled status 2>/dev/null; exit 0 ;;
cat*) cat unit 2>/dev/null; exit ;;
esac
echo "$*" >>calls
case "$*" in
*daemon-reload) ;;
*enable*) echo UnitFileState=enabled >enabled ;;
*disable*) rm -f enabled active ;;
*start*)
    if [ -e broken ]; then echo "Job for vmkit-agent.service failed." >&2; exit 1; fi
    echo ActiveState=active >active
    ;;
esac
"#;
/// With INVOCATION_ID it also finds systemd's lines about a service, as the real journalctl does.
const JOURNALCTL: &str = r#"#!/bin/sh
echo "the log of the agent"
case " $*" in *" INVOCATION_ID="*) echo "Started vmkit-agent.service." ;; esac
"#;

pub struct Cell {
    root: PathBuf,
    read_only: bool,
    scratch: Scratch,
}

impl Cell {
    /// Without any init system.
    pub fn bare() -> Cell {
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        for folder in [
            "dev",
            "etc",
            "local/bin",
            "local/share",
            "proc",
            "root",
            "run",
            "tmp",
            "usr",
            "var/lib",
            "vmkit-test/bin",
        ] {
            fs::create_dir_all(root.join(folder)).expect("the test's own");
        }
        Cell { root, read_only: false, scratch }
    }

    /// With what looks like systemd; the agent says this of itself once it is started.
    pub fn with_systemd(status: &str) -> Cell {
        let cell = Cell::bare();
        fs::create_dir_all(cell.path("/run/systemd/system")).expect("the test's own");
        for (name, text) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
            let path = format!("/vmkit-test/bin/{name}");
            cell.write(&path, text);
            let everyone = fs::Permissions::from_mode(0o755);
            fs::set_permissions(cell.path(&path), everyone).expect("the test's own");
        }
        cell.write("/vmkit-test/status", &format!("StatusText={status}\n"));
        fs::create_dir_all(cell.path("/etc/systemd/system")).expect("the test's own");
        cell
    }

    /// `/usr/local` can't be written to.
    pub fn read_only(mut self) -> Cell {
        self.read_only = true;
        self
    }

    /// Runs the agent in there, with these variables and `PATH`.
    #[track_caller]
    pub fn agent(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let output = self.command(arguments, environment).output().expect("coreutils are there");
        assert!(!said(&output).contains(TOKEN), "{}", said(&output));
        output
    }

    /// The command that runs the agent in there.
    pub fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        self.prefixed(&["timeout", "60"], arguments, environment)
    }

    /// The same at a terminal, which is to be its standard input.
    pub fn at_a_terminal(&self, arguments: &[&str]) -> Command {
        self.prefixed(&["setsid", "--ctty", "timeout", "--foreground", "60"], arguments, &[])
    }

    fn prefixed(
        &self,
        prefix: &[&str],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Command {
        const SCRIPT: &str = r#"
            root=$1 program=$2 local=$3; shift 3
            mount --make-rprivate /
            mount --rbind /usr "$root/usr"
            mount --bind "$root/local" "$root/usr/local"
            mount -o "remount,bind,$local" "$root/usr/local"
            devices=null
        "#;
        let local = if self.read_only { "ro" } else { "rw" };
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]);
        command.args([
            "unshare",
            "--mount",
            "/bin/sh",
            "-euc",
            &format!("{SCRIPT}{ENTER_ROOT}"),
            "sh",
        ]);
        command.arg(&self.root).arg(agent_program()).arg(local).args(arguments);
        command.env_clear().env("PATH", "/vmkit-test/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(environment.iter().copied());
        command
    }

    /// The commands to the service manager since this function was last called.
    pub fn calls(&self) -> Vec<String> {
        let path = self.path("/vmkit-test/calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in the root")).expect("the test's own");
        fs::write(path, text).expect("the test's own");
    }

    /// Permissions in octal, without the kind of file.
    pub fn mode(&self, path: &str) -> String {
        let file = fs::metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        format!("{:o}", file.permissions().mode() & 0o7777)
    }

    /// The path of this file outside the root.
    pub fn path(&self, path: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        self.root.join(
            path.strip_prefix("usr/").filter(|rest| rest.starts_with("local/")).unwrap_or(path),
        )
    }

    /// All files and folders but the test's own, sorted.
    pub fn tree(&self) -> Vec<String> {
        let mut tree = Vec::new();
        for folder in ["etc", "local", "root", "run", "tmp", "var"] {
            list(&self.root.join(folder), &mut tree);
        }
        let root = self.scratch.path().display().to_string() + "/root";
        let mut tree: Vec<_> = tree.iter().map(|path| path.replace(&root, "")).collect();
        tree.sort();
        tree
    }
}

fn list(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the test's own").flatten() {
        into.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), into);
        }
    }
}
