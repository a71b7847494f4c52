//! The agent in a root of its own: its own `/etc`, `/dev` and `/var`, the machine's `/usr`.
//!
//! A mount namespace and a chroot, so it needs root (CAP_SYS_ADMIN); the mounts go with the process.
//! For what the agent finds at fixed places: `/etc/resolv.conf`, `/etc/vmkit/agent.env`, `/dev/log`.

use std::{fs, os::unix::net::UnixDatagram, path::PathBuf, process::Command};

use super::scratch::Scratch;

/// The end of a shell script that becomes `$program`, with the script's arguments, inside `$root`,
/// which has the machine's `/usr` already: mounts the rest of the machine's programs, `/proc` and
/// `$devices`, and runs `vmkit-test/prepare` where this file is in the root.
pub const ENTER_ROOT: &str = r#"
    mount --rbind /proc "$root/proc"
    for name in bin sbin lib lib64; do
        if [ -L "/$name" ]; then
            ln -sfn "$(readlink "/$name")" "$root/$name"
        elif [ -d "/$name" ]; then
            mkdir -p "$root/$name"
            mount --bind "/$name" "$root/$name"
        fi
    done
    for device in $devices; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    : >"$root/vmkit-test/vmkit-agent"
    mount --bind "$program" "$root/vmkit-test/vmkit-agent"
    if [ -e "$root/vmkit-test/prepare" ]; then . "$root/vmkit-test/prepare"; fi
    exec chroot "$root" /vmkit-test/vmkit-agent "$@"
"#;

pub struct PrivateRoot {
    pub path: PathBuf,
}

impl PrivateRoot {
    pub fn new(scratch: &Scratch) -> PrivateRoot {
        let path = scratch.path().join("root");
        for directory in ["etc/vmkit", "dev", "proc", "usr", "tmp", "var", "vmkit-test"] {
            fs::create_dir_all(path.join(directory))
                .expect("the scratch directory is the test's own");
        }
        let root = PrivateRoot { path };
        root.write("etc/hosts", "127.0.0.1 localhost\n");
        root.write("etc/nsswitch.conf", "hosts: files dns\n");
        root.write("etc/host.conf", "multi on\n");
        root.write("etc/resolv.conf", "");
        root
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().expect("it is in the root")).expect("the test's own");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Shell commands for before the agent is started, such as mounts: `$root` and `$scratch` are set.
    pub fn before_start(&self, commands: &str) {
        self.write("vmkit-test/prepare", commands);
    }

    /// Binds `/dev/log`, as a syslog daemon does.
    pub fn bind_dev_log(&self) -> UnixDatagram {
        let path = self.path.join("dev/log");
        let _ = fs::remove_file(&path);
        UnixDatagram::bind(path).expect("a path short enough for a socket")
    }

    /// A command that becomes `program` inside this root; `scratch` is seen there under its own path.
    pub fn command(&self, scratch: &Scratch, program: &str) -> Command {
        const SCRIPT: &str = r#"
            root=$1 scratch=$2 program=$3; shift 3
            mount --make-rprivate /
            mount --rbind /usr "$root/usr"
            mkdir -p "$root$scratch"
            mount --bind "$scratch" "$root$scratch"
            devices="null zero urandom"
        "#;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount"]);
        command.args(["/bin/sh", "-euc", &format!("{SCRIPT}{ENTER_ROOT}"), "sh"]);
        command.args([&self.path, scratch.path()]).arg(program);
        command
    }
}
