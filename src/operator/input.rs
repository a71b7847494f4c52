//! What a command reads from standard input: one line, and where that is a terminal, in answer to a
//! prompt. A secret is not shown while it is typed.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::run::wait::Waiter;

/// The most that a terminal hands over of a line, its end included. It drops the rest.
const TERMINAL_LINE: usize = 4096;
/// The longest line that is read otherwise.
const LINE: u64 = 8 * 1024;

/// The first line, up to 8 KiB of it and a byte more, so that one that is too long is seen to be.
///
/// # Errors
/// The operating system's own, or that it is not UTF-8.
pub fn line(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        ask(prompt);
    }
    let mut line = String::new();
    stdin.lock().take(LINE + 1).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// The next line of the terminal that standard input is, which is not shown while it is typed.
///
/// # Errors
/// The operating system's own, a signal that asks for the end, or that it is longer than a terminal
/// can tell.
pub fn secret(prompt: &str, waiter: &Waiter) -> io::Result<String> {
    let hidden = Hidden::new()?;
    ask(prompt);
    let line = hidden.line(waiter);
    if !line.as_ref().is_ok_and(|line| line.ends_with('\n')) {
        // What is said next is not for the line of the prompt.
        ask("\n");
    }
    line
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Hidden> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // These keys would end or stop this process at once, and the terminal would stay like this.
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
            let problem = "the line is longer than a terminal can tell, use --token-file";
            return Err(io::Error::new(ErrorKind::InvalidInput, problem));
        }
        Ok(std::str::from_utf8(&line[..length]).map_err(io::Error::other)?.to_owned())
    }
}

/// What the terminal has, if it has a line. A signal may come in between, and take the line away.
fn read_ready(stdin: &io::Stdin, line: &mut [u8]) -> Result<Option<usize>, Errno> {
    let mut polled = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec::default()))? {
        0 => Ok(None),
        _ => rustix::io::read(stdin, line).map(Some),
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // What else was typed, the rest of a secret maybe, is not for the shell. A terminal that is
        // gone has nothing to show.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn ask(prompt: &str) {
    let _ = write!(io::stderr(), "{prompt}");
}
