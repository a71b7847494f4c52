//! A machine of its own for each test: mounts, processes and network are its own, and gone with it.
//!
//! The test's function runs inside. Paths, process numbers and addresses are then the same for the
//! test, the agent and the attacker, and whatever any of them has started ends with the cell.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::agent_program;
pub use crate::support::said;

/// Where the agent is installed, where the one before it is kept, and what is remembered.
pub const INSTALLED: &str = "/usr/local/bin/vmkit-agent";
pub const PREVIOUS: &str = "/usr/local/bin/vmkit-agent.prev";
pub const STATE_FOLDER: &str = "/var/lib/vmkit-agent";
pub const STATE: &str = "/var/lib/vmkit-agent/upgrade.json";
pub const ENV_FILE: &str = "/etc/vmkit/agent.env";
/// The commands that the faked systemd runs at a start of the service.
pub const ON_START: &str = "/run/on-start";

/// Says to a test that it is inside.
const INSIDE: &str = "VMKIT_TEST_CELL";
/// The cell's process 1, with the paths of the checkout, of the program under test and of the test
/// before the test's arguments. The machine's programs are there, some of them as links into
/// `/etc/alternatives`; all else that an agent writes to is empty and the cell's own. A checkout or a
/// build in one of these folders is put back at its place; only below `/run` it can't be.
const INIT: &str = r#"
    place() {
        if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "${2%/*}"; : >"$2"; fi
        mount --bind "$1" "$2"
    }
    checkout=$1 agent=$2 test=$3; shift 2
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 vmkit-test /run
    place "$checkout" /run/kept/checkout
    place "$agent" /run/kept/agent
    place "$test" /run/kept/test
    mkdir /run/dev /run/alternatives
    for name in null zero full random urandom; do
        : >/run/dev/$name
        mount --bind /dev/$name /run/dev/$name
    done
    mount --rbind /run/dev /dev
    [ ! -d /etc/alternatives ] || mount --bind /etc/alternatives /run/alternatives
    for folder in etc usr/local var/lib var/log; do
        mount -t tmpfs -o mode=755 vmkit-test /$folder
    done
    mount -t tmpfs -o mode=1777 vmkit-test /tmp
    mkdir /etc/alternatives /usr/local/bin /usr/local/sbin
    mount --bind /run/alternatives /etc/alternatives
    [ -e "$checkout" ] || place /run/kept/checkout "$checkout"
    [ -e "$agent" ] || place /run/kept/agent "$agent"
    [ -e "$test" ] || place /run/kept/test "$test"
    echo '127.0.0.1 localhost' >/etc/hosts
    ip link set lo up
    status=0
    timeout --kill-after 1 180 "$@" || status=$?
    exit $status
"#;

/// Runs `test` in a cell.
pub fn in_a_cell(test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let this_program = env::current_exe().expect("a test binary");
    let this_test = thread::current().name().expect("libtest names its threads").to_owned();
    // Ends with this thread, and everything in it ends with its process 1.
    let mut cell = Command::new("setpriv");
    cell.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork"]);
    cell.args(["--kill-child", "--mount-proc", "/bin/sh", "-euc", INIT, "sh"]);
    cell.arg(env!("CARGO_MANIFEST_DIR")).arg(agent_program()).arg(this_program);
    cell.args(["--exact", &this_test, "--nocapture"]);
    // Another folder for temporary files may not be there.
    cell.env(INSIDE, "1").env_remove("TMPDIR").current_dir("/");
    let output = cell.output().expect("util-linux is there");
    let said = said(&output);
    assert!(output.status.success() && said.contains("1 passed"), "in the cell:\n{said}");
}

/// Puts the program under test where it belongs.
pub fn install() {
    fs::copy(agent_program(), INSTALLED).expect("the agent was built");
}

/// Writes a file of root's, and the folders on the way to it.
#[track_caller]
pub fn write(path: &str, content: impl AsRef<[u8]>) {
    let folder = Path::new(path).parent().expect("it is in a folder");
    fs::create_dir_all(folder).expect("the cell's own");
    fs::write(path, content).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Puts a shell script in front of root's `PATH`.
pub fn fake(name: &str, body: &str) {
    let path = format!("/usr/local/sbin/{name}");
    write(&path, format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the cell's own");
}

/// A systemd that starts the service by running [`ON_START`], if there is one, and then has it say
/// that it is registered.
pub fn systemd() {
    for folder in ["/run/systemd/system", "/etc/systemd/system"] {
        fs::create_dir_all(folder).expect("the cell's own");
    }
    let systemctl = format!(
        r#"
        case "$*" in
        show*) cat /run/service 2>/dev/null ;;
        *start*)
            [ ! -e {ON_START} ] || . {ON_START}
            printf 'ActiveState=active\nStatusText=registered as vm\n' >/run/service
        esac
        exit 0
        "#
    );
    fake("systemctl", &systemctl);
}

/// A command of root's, with `PATH` for an environment.
pub fn root(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Runs the program under test as root: whether it succeeds, and its words.
pub fn agent(arguments: &[&str]) -> (bool, String) {
    let output = root(&agent_program(), arguments).output().expect("the agent was built");
    (output.status.success(), said(&output))
}

/// The permissions of a file or folder, as an octal number.
#[track_caller]
pub fn mode(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let file = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:o}", file.mode() & 0o7777)
}

/// The files in a folder; nothing where there is no such folder.
pub fn files_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
