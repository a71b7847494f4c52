//! What a command tells its operator. Where nobody reads it any more, the command goes on:
//! `println!` would panic.

use std::io::{self, Write};

/// One line on standard output.
///
/// # Errors
/// The operating system's own, such as that the reader is gone.
pub fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush())
}

/// One line on standard output, whether or not somebody reads it.
pub fn say(line: &str) {
    let _ = print(line);
}

/// One line on standard error.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
