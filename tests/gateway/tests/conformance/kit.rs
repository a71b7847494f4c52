//! Runs `gateway check` against an agent, and reads what it says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// How much shorter the clocks of the agent in Python are. Still shorter, and a busy machine misses
/// the 10 s of a heartbeat.
pub const SCALE: &str = "0.1";

pub struct Verdict {
    pub word: String,
    pub detail: String,
    pub frames: Vec<String>,
}

/// By the id of the rule.
pub type Verdicts = BTreeMap<String, Verdict>;

pub struct Run {
    pub code: i32,
    pub verdicts: Verdicts,
    /// Standard error.
    pub error: String,
}

/// An agent to check, and the file for the rules about upgrades.
pub struct Program {
    pub path: String,
    pub next: PathBuf,
    _folder: tempfile::TempDir,
}

impl Program {
    /// The agent of this repository.
    pub fn agent() -> Program {
        let folder = folder();
        let next = folder.path().join("next");
        let path = agent_program();
        executable(&next, &as_next_version(fs::read(&path).expect("the agent was built")));
        Program { path, next, _folder: folder }
    }

    /// The agent in Python, which breaks the rule that `--break` names.
    pub fn python() -> Program {
        let folder = folder();
        let launcher = |name: &str, more: &str| {
            let path = folder.path().join(name);
            let agent = sabotage().display().to_string();
            let text = format!(
                "#!/bin/sh\nexec python3 -I -S '{agent}' --installed \"$0\" {more} \"$@\"\n"
            );
            executable(&path, text.as_bytes());
            path
        };
        // Above the agent's own, 1.0.0.
        let next = launcher("next", "--own-version 9.0.0");
        Program { path: launcher("agent", "").display().to_string(), next, _folder: folder }
    }

    /// Program and arguments, with the clocks of [`Kit::short_clocks`].
    pub fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&[self.path.as_str(), "--clock-scale", SCALE], more].concat()
    }
}

/// The agent that `VMKIT_AGENT_BIN` names; without this variable the build beside the test binary, which
/// is `<target>/<profile>/deps/<name>-<hash>`.
fn agent_program() -> String {
    std::env::var("VMKIT_AGENT_BIN").unwrap_or_else(|_| {
        let this_program = std::env::current_exe().expect("the kernel knows it");
        let profile = this_program.ancestors().nth(2).expect("cargo's layout");
        profile.join("vmkit-agent").display().to_string()
    })
}

/// The version is a string in the binary like any other: the digits of another are written over it.
fn as_next_version(mut bytes: Vec<u8>) -> Vec<u8> {
    let (_, own) = MANIFEST.split_once("\nversion = \"").expect("a package has a version");
    let own = own.split('"').next().expect("split yields one part").as_bytes();
    let mut next = own.to_vec();
    // Above the agent's own: 0.1.0 becomes 8.1.0.
    next[0] = b'8';
    let places: Vec<usize> =
        (0..bytes.len() - own.len()).filter(|at| bytes[*at..].starts_with(own)).collect();
    for place in places {
        bytes[place..place + next.len()].copy_from_slice(&next);
    }
    bytes
}
const MANIFEST: &str = include_str!("../../../../Cargo.toml");

/// The agent's file in Python.
pub fn sabotage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sabotage/agent.py")
}

fn folder() -> tempfile::TempDir {
    let made = tempfile::Builder::new().prefix("vmkit-test-").tempdir();
    made.expect("a temporary folder")
}

/// By another process: a file that this one has open for writing can't be started by any of its threads.
fn executable(path: &Path, bytes: &[u8]) {
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes).expect("the folder is the test's own");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("it is the test's own");
    let copied = Command::new("cp").arg("--").args([&draft, path]).status();
    assert!(copied.expect("coreutils are there").success());
}

/// A run that is being prepared.
pub struct Kit {
    pub command: Command,
}

impl Kit {
    /// Ends with the test's thread, also where the test binary itself is killed.
    pub fn new() -> Kit {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_gateway"), "check"]);
        command.env_remove("GATEWAY_TOKEN");
        Kit { command }
    }

    pub fn with(mut self, words: &[&str]) -> Kit {
        self.command.args(words);
        self
    }

    pub fn short_clocks(self) -> Kit {
        self.with(&["--clock-scale", SCALE])
    }

    pub fn only(self, list: &str) -> Kit {
        self.with(&["--only", list])
    }

    pub fn upgrade_binary(self, path: &Path) -> Kit {
        self.with(&["--upgrade-binary", &path.display().to_string()])
    }

    /// Runs it with `--json` to its end.
    pub fn check(self, agent: &[&str]) -> Run {
        let mut kit = self.with(&["--json", "--"]).with(agent);
        let output = kit.command.output().expect("it was built");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|fault| panic!("no JSON: {fault}: {error}"));
        let code = output.status.code().unwrap_or(-1);
        Run { code, verdicts: verdicts(&said), error }
    }
}

pub fn verdicts(said: &Value) -> Verdicts {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = said["results"].as_array().expect("results");
    let verdict = |row: &Value| Verdict {
        word: text(&row["verdict"]),
        detail: text(&row["detail"]),
        frames: row["frames"].as_array().into_iter().flatten().map(text).collect(),
    };
    rows.iter().map(|row| (text(&row["id"]), verdict(row))).collect()
}
