//! Real containers on this machine's Docker Engine, removed when the test ends, however it ends.
//!
//! Their image is a busybox and nothing else, so that no registry is needed. Names hold the id of
//! the test process: what one that was killed has left behind is removed by the next.

use std::{
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::{self, Command, Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use super::{LogLine, scratch::Scratch};

const PREFIX: &str = "vmkit-test-agent-";
/// The programs that scripts may call; busybox is all of them.
const APPLETS: [&str; 10] =
    ["cat", "head", "seq", "sh", "sleep", "tail", "test", "tr", "true", "false"];

pub struct Container {
    pub name: String,
    _image: Arc<Image>,
}

/// Removed after the last container that is made of it.
struct Image {
    name: String,
}

impl Container {
    /// A container that runs this script, and still runs when this returns. `options` are those of
    /// `docker run`.
    pub fn running(options: &[&str], script: &str) -> Container {
        Container::run(&[&["--detach"], options].concat(), script, b"")
    }

    /// A container whose script has ended.
    pub fn ended(options: &[&str], script: &str) -> Container {
        Container::run(options, script, b"")
    }

    /// A container that was never started.
    pub fn created() -> Container {
        Container::make("create", &[], "true", b"")
    }

    /// A container that has written this to its standard output, and ended.
    pub fn printed(options: &[&str], output: impl AsRef<[u8]>) -> Container {
        Container::run(&[&["--interactive"], options].concat(), "cat", output.as_ref())
    }

    fn run(options: &[&str], script: &str, input: &[u8]) -> Container {
        Container::make("run", options, script, input)
    }

    fn make(how: &str, options: &[&str], script: &str, input: &[u8]) -> Container {
        let image = Image::shared();
        let container = Container { name: unique_name(), _image: image.clone() };
        // No network: setting one up and down is most of the time that a container takes.
        let mut arguments = vec![how, "--name", &container.name, "--network", "none"];
        arguments.extend_from_slice(options);
        arguments.extend([&image.name, "sh", "-c", script]);
        docker_with(&arguments, input);
        container
    }

    /// All 64 digits of it.
    pub fn id(&self) -> String {
        docker(&["inspect", "--format", "{{.Id}}", &self.name]).trim().to_owned()
    }

    /// Its last lines, by `docker logs` itself.
    pub fn logs(&self, tail: u32) -> Vec<LogLine> {
        let output = client(&["logs", "--timestamps", "--tail", &tail.to_string(), &self.name])
            .output()
            .expect("coreutils are there");
        assert!(output.status.success(), "{output:?}");
        LogLine::merge(&output.stdout, &output.stderr)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = client(&["rm", "--force", &self.name]).output();
    }
}

impl Image {
    fn shared() -> Arc<Image> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        // Poisoned by a test that could not make it; this one will say why itself.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            require_engine();
            remove_leftovers();
            let image = Arc::new(Image { name: unique_name() });
            image.make();
            *shared = Arc::downgrade(&image);
            image
        })
    }

    fn make(&self) {
        let scratch = Scratch::new();
        let bin = scratch.path().join("root/bin");
        std::fs::create_dir_all(&bin).expect("the scratch directory is the test's own");
        let path = std::env::var_os("PATH").expect("cargo has one");
        let busybox = std::env::split_paths(&path)
            .map(|directory| directory.join("busybox"))
            .find(|file| file.is_file())
            .expect("no busybox to make an image of: apt-get install busybox-static");
        std::fs::copy(busybox, bin.join("busybox")).expect("it can be read");
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).expect("the scratch directory is the test's own");
        }
        let archive = scratch.path().join("root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(scratch.path().join("root")).arg("-cf").arg(&archive).arg(".");
        assert!(tar.status().expect("tar is there").success());
        docker(&["import", archive.to_str().expect("made of ASCII"), &self.name]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = client(&["rmi", "--force", &self.name]).output();
    }
}

/// Runs a docker command; its standard output.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    docker_with(arguments, b"")
}

#[track_caller]
fn docker_with(arguments: &[&str], input: &[u8]) -> String {
    let mut command = client(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("coreutils are there");
    let mut stdin = child.stdin.take().expect("piped");
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that wants none of it says by its status whether that was right.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("our child")
    });
    let Output { status, stdout, stderr } = output;
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "docker {}: {status}: {stderr}", arguments.join(" "));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// The engine that the agent under test finds too: both have no `DOCKER_HOST` and no settings of
/// the user's. A hung engine must not hang the tests.
fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "60", "docker"]).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

fn require_engine() {
    let version = client(&["version", "--format", "{{.Server.Version}}"]).output();
    let output = version.expect("coreutils are there");
    assert!(
        output.status.success(),
        "no Docker Engine answers, and this test needs one: apt-get install docker.io, then \
         systemctl start docker, or dockerd & as root ({})",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn remove_leftovers() {
    let is_left = |name: &&str| {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let containers = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let images = docker(&["images", "--format", "{{.Repository}}"]);
    // Another test process may be removing the same ones.
    for name in containers.lines().filter(is_left) {
        let _ = client(&["rm", "--force", name]).output();
    }
    for name in images.lines().filter(is_left) {
        let _ = client(&["rmi", "--force", name]).output();
    }
}
