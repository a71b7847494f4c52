//! `vmkit-agent install --token-stdin` typed at a terminal, where nobody is to see the token.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use super::program::{ENV_FILE, succeeded};
use super::support::{Cell, TOKEN, Terminal};

const PROMPT: &str = "agent token: ";
const INSTALL: [&str; 3] = ["install", "--token-stdin", "--no-start"];

/// At the prompt, which is the end of the screen.
#[track_caller]
fn at_the_prompt(cell: &Cell) -> Terminal {
    let mut terminal = Terminal::run(cell.at_a_terminal(&INSTALL));
    terminal.wait_for(PROMPT);
    assert!(!terminal.shows());
    terminal
}

#[test]
fn a_token_is_asked_for_and_one_line_is_enough() {
    let cell = Cell::bare();
    let mut terminal = at_the_prompt(&cell);
    terminal.type_in(format!("{TOKEN}\nthe rest of what was pasted\n"));
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert_eq!(cell.read(ENV_FILE), format!("VMKIT_AGENT_TOKEN={TOKEN}\n"));
    assert!(screen.contains(&format!("{PROMPT}\n")), "{screen}");
    assert!(!screen.contains(TOKEN) && !screen.contains("the rest"), "{screen}");
}

#[test]
fn without_a_token_nothing_is_changed_and_the_terminal_shows_again() {
    let cell = Cell::bare();
    let before = cell.tree();
    let ways = [
        ("half of it\x03", "ended by a signal"),
        ("\x04", "is empty"),
        ("\n", "is empty"),
        // The keys that end and stop a process at once do neither here.
        ("\x1c\x1a\x03", "ended by a signal"),
        // No key: SIGTERM.
        ("", "ended by a signal"),
    ];
    for (keys, why) in ways {
        let mut terminal = at_the_prompt(&cell);
        match keys {
            "" => terminal.signal(Signal::TERM),
            keys => terminal.type_in(keys),
        }
        let (status, screen) = terminal.end();
        assert_eq!(status.code(), Some(1), "{screen}");
        let last = screen.lines().last().unwrap_or_default();
        assert!(last.starts_with("vmkit-agent: no token: ") && last.contains(why), "{screen}");
        assert!(!screen.contains("half"), "{screen}");
        assert_eq!(cell.tree(), before);
    }
}

/// More than a terminal hands over of a line: it is not cut in silence.
#[test]
fn a_token_that_is_too_long_for_a_terminal_is_told() {
    let cell = Cell::bare();
    let mut terminal = at_the_prompt(&cell);
    for _ in 0..50 {
        terminal.type_in([b'x'; 100]);
    }
    terminal.type_in(b"\n");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(screen.contains("longer than a terminal can pass on; use --token-file"), "{screen}");
}

#[test]
fn what_is_no_terminal_is_read_to_its_end_and_not_asked() {
    let cell = Cell::bare();
    cell.write("/root/token", &format!("\n{TOKEN}\n\n"));
    let token = fs::File::open(cell.path("/root/token")).expect("just written");
    let mut command = cell.command(&INSTALL, &[]);
    let output = command.stdin(Stdio::from(token)).output().expect("coreutils are there");
    succeeded(&output);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(cell.read(ENV_FILE), format!("VMKIT_AGENT_TOKEN={TOKEN}\n"));
}
