//! Ends what the test run leaves behind, however it ends: by Ctrl-C or SIGKILL too.
//!
//! A shell in a session of its own waits for the end of a pipe that only this process holds open.

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::cache;

struct Watch {
    label: String,
    folder: String,
    // Its standard input is the pipe; statics are never dropped, the kernel closes it.
    _shell: Child,
}

const SCRIPT: &str = r#"
    cat >/dev/null
    # Again, for a machine that docker was just starting.
    for _ in 1 2 3; do
        docker ps --all --quiet --filter "label=$1" | xargs -r docker rm --force --volumes
        sleep 1
    done
    docker image ls --quiet --filter "label=$1" | xargs -r docker image rm --force
    rm -rf "$2"
"#;

/// The label of each container and image of this run.
pub fn label() -> &'static str {
    &watch().label
}

/// A folder that ends with the run.
pub fn folder() -> &'static str {
    &watch().folder
}

fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    WATCH.get_or_init(|| {
        let run = std::process::id();
        let label = format!("vmkit-test-vm-run={run}");
        let folder = cache().join(format!("run-{run}")).display().to_string();
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let shell = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "sh", &label, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("util-linux is there");
        Watch { label, folder, _shell: shell }
    })
}
