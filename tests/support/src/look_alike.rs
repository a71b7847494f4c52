//! A program that passes itself off as the agent, and tells who has run it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The folder in which each process of the program leaves an empty file: its pid is the file's
/// name, and its user the owner.
pub const TRACES: &str = "/tmp/traces";

/// With an argument it prints a version as the agent does, without it waits for its end.
const SOURCE: &str = r#"
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>

    int main(int count, char **arguments)
    {
        char trace[64];
        snprintf(trace, sizeof trace, TRACES "/%d", getpid());
        close(open(trace, O_CREAT | O_WRONLY, 0644));
        if (count > 1)
            return puts("vmkit-agent 0.1.0") < 0;
        for (;;)
            pause();
    }
"#;

/// Builds it, linked statically: a machine under test may have another libc.
pub fn build(path: &Path) {
    let mut compiler = Command::new("cc");
    compiler
        .args(["-static", "-x", "c", &format!("-DTRACES=\"{TRACES}\""), "-o"])
        .arg(path)
        .arg("-");
    let mut compiler = compiler.stdin(Stdio::piped()).spawn().expect("ring is built with it too");
    let mut stdin = compiler.stdin.take().expect("a pipe");
    stdin.write_all(SOURCE.as_bytes()).expect("it reads all");
    drop(stdin);
    assert!(compiler.wait().expect("our child").success());
}
