//! Programs of the machine outside, run to their end: docker, cargo and the like.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

/// The outcome of a program.
#[derive(Debug)]
pub struct Output {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `program` for at most `seconds`, with this on its standard input.
pub fn run<S: AsRef<OsStr>>(seconds: u32, program: &str, arguments: &[S], input: &[u8]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string(), program]).args(arguments);
    run_command(command, input)
}

pub fn run_command(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it was piped");
    let output = thread::scope(|scope| {
        // A program that reads none of it is not to stop the test.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("our child")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Output {
        ok: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs docker; panics with what it says where it fails.
#[track_caller]
pub fn docker<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let output = run(120, "docker", arguments, b"");
    let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    assert!(output.ok, "docker {}: {}{}", words.join(" "), output.stdout, output.stderr);
    output.stdout
}
