//! Fake programs: real executables, shell scripts, that stand where the agent looks for `docker`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{PATIENCE, poll_until};

/// A docker whose `logs` are 90 lines of 10,000 characters: a reply of about 900 KB.
pub const LARGE_LOG: &str = r#"
    [ "$1" = logs ] || exit 0
    text=$(head -c 10000 /dev/zero | tr '\0' x)
    for line in $(seq 90); do echo "2026-01-01T00:00:00.0000000${line}Z $text"; done
"#;

/// A docker without containers: `ps` prints its header all the same.
pub const NO_CONTAINERS: &str = "[ \"$1\" != ps ] || echo CONTAINER ID STATUS";

/// A fake that notes each of its calls.
#[derive(Clone)]
pub struct Fake {
    calls: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub pid: u32,
    /// The arguments, with one space between them.
    pub arguments: String,
}

/// Writes a `/bin/sh` script with this body, in the place of what is there.
///
/// Another process writes the executable: were it open for writing in this one, a fork in another test's
/// thread at that moment would make starting it fail with ETXTBSY.
pub fn write_script(path: &Path, body: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, format!("#!/bin/sh\n{body}\n")).expect("the directory is the test's own");
    let _ = fs::remove_file(path);
    let installed = Command::new("install").args(["-m", "755"]).args([&draft, path]).status();
    assert!(installed.expect("coreutils are there").success());
    fs::remove_file(&draft).expect("it was just written");
}

impl Fake {
    /// Writes `name` into `directory`: a `/bin/sh` script with this body.
    pub fn write(directory: &Path, name: &str, body: &str) -> Fake {
        let calls = directory.join(format!("{name}.calls"));
        let script = format!("echo \"$$ $*\" >> '{}'\n{body}", calls.display());
        write_script(&directory.join(name), &script);
        Fake { calls }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(&self.calls).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let calls = whole.lines().map(|line| {
            let (pid, arguments) = line.split_once(' ').expect("as the script writes it");
            Call {
                pid: pid.parse().expect("as the script writes it"),
                arguments: arguments.to_owned(),
            }
        });
        calls.collect()
    }

    /// The calls whose arguments begin like this, once there are `count` of them.
    #[track_caller]
    pub fn wait_for_calls(&self, beginning: &str, count: usize) -> Vec<Call> {
        poll_until(&format!("{count} calls of {beginning:?}"), PATIENCE, || {
            let mut calls = self.calls();
            calls.retain(|call| call.arguments.starts_with(beginning));
            (calls.len() >= count).then_some(calls)
        })
    }
}
