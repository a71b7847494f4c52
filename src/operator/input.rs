//! What a command reads from standard input: one line, and where that is a terminal, in answer to a
//! prompt.

use std::io::{self, BufRead, IsTerminal, Read, Write};

/// The longest line that is read otherwise.
const LINE: u64 = 8 * 1024;

/// The first line, up to 8 KiB of it; what is no longer a URL is refused by its check.
///
/// # Errors
/// The operating system's own, or that it is not UTF-8.
pub fn line(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        ask(prompt);
    }
    let mut line = String::new();
    // One byte more shows that it is too long.
    stdin.lock().take(LINE + 1).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn ask(prompt: &str) {
    let _ = write!(io::stderr(), "{prompt}");
}
