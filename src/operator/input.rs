//! What a command reads from standard input: one line. A terminal shows a prompt first, and does not
//! show a secret while it is typed.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::run::wait::Waiter;

/// The most bytes of a line, with its end, that a terminal hands over. It drops the rest.
const TERMINAL_LINE: usize = 4096;
/// The most bytes of a line that are read from anything else.
const LINE: u64 = 8 * 1024;

/// The first line. Of a longer line than 8 KiB one byte more is returned, by which the caller knows.
///
/// # Errors
/// The operating system's own, or that the line is not UTF-8.
pub fn line(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        ask(prompt);
    }
    let mut line = String::new();
    stdin.lock().take(LINE + 1).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// The next line of the terminal on standard input. The line is not shown while it is typed.
///
/// # Errors
/// The operating system's own, a signal that ends this process, or that the line is longer than a
/// terminal hands over.
pub fn secret(prompt: &str, waiter: &Waiter) -> io::Result<String> {
    let hidden = Hidden::new()?;
    ask(prompt);
    let line = hidden.line(waiter);
    if !line.as_ref().is_ok_and(|line| line.ends_with('\n')) {
        // The next message starts on a line of its own.
        ask("\n");
    }
    line
}

/// While it lives, the terminal does not show what is typed.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Hidden> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // These keys would end or stop this process at once, and the terminal would stay silent.
        for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
            modes.special_codes[key] = 0;
        }
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Hidden { before })
    }

    fn line(&self, waiter: &Waiter) -> io::Result<String> {
        let stdin = io::stdin();
        waiter.watch_pipe(&stdin)?;
        let mut line = [0; TERMINAL_LINE];
        let length = loop {
            waiter.set_deadline(None);
            waiter.wait()?;
            if waiter.stopping() {
                return Err(io::Error::new(ErrorKind::Interrupted, "ended by a signal"));
            }
            match read_ready(&stdin, &mut line) {
                Ok(None) | Err(Errno::INTR) => {}
                Ok(Some(length)) => break length,
                Err(error) => return Err(error.into()),
            }
        };
        waiter.ignore_pipe(&stdin)?;
        if length == TERMINAL_LINE {
            let problem = "the line is longer than a terminal can pass on; use --token-file";
            return Err(io::Error::new(ErrorKind::InvalidInput, problem));
        }
        Ok(std::str::from_utf8(&line[..length]).map_err(io::Error::other)?.to_owned())
    }
}

/// The length of the line that the terminal has; none if it has no line. The wait may have ended for
/// a line that a signal has removed since.
fn read_ready(stdin: &io::Stdin, line: &mut [u8]) -> Result<Option<usize>, Errno> {
    let mut polled = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec::default()))? {
        0 => Ok(None),
        _ => rustix::io::read(stdin, line).map(Some),
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The rest of what was typed, which may be a secret, is dropped and not left to the shell.
        // This fails for a terminal that is gone, which does no harm.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn ask(prompt: &str) {
    let _ = write!(io::stderr(), "{prompt}");
}
