//! Standard output: one JSON object a line, whole lines only, whoever writes.
//!
//! A thread of its own writes. A reader that pauses, for example a stopped terminal, must not stop the
//! sessions of the agents.

use std::io::Write;
use std::sync::Once;
use std::thread::Builder;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use crate::clock::Moment;

/// Of lines that wait, in bytes. Events beyond it are left out, and a line says how many.
const LIMIT: usize = 16 * 1024 * 1024;
/// For the reader, when the gateway ends.
const PATIENCE: Duration = Duration::from_secs(2);

static WAITING: Mutex<Waiting> =
    Mutex::new(Waiting { lines: String::new(), left_out: 0, is_writing: false });
/// There are lines to write, or all of them are written.
static CHANGED: Condvar = Condvar::new();

struct Waiting {
    lines: String,
    left_out: u64,
    is_writing: bool,
}

/// Something happened. `fields` is a JSON object.
pub fn event(name: &str, mut fields: Value) {
    fields["event"] = json!(name);
    fields["at"] = json!(Moment::now());
    // Before the lock: a snapshot takes its time.
    let line = fields.to_string();
    WAITING.lock().add(&line);
    wake_writer();
}

/// The one answer to line `command` of standard input.
pub fn answer(command: u64, outcome: Result<Value, Value>) {
    let line = match outcome {
        Ok(answer) => json!({"command": command, "answer": answer}),
        Err(error) => json!({"command": command, "error": error}),
    };
    let line = line.to_string();
    // Whoever gives commands reads the answers.
    WAITING.lock().push(&line);
    wake_writer();
}

/// Waits until all is written, or until the reader has paused for long.
pub fn finish() {
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = WAITING.lock();
    while waiting.is_writing || !waiting.lines.is_empty() {
        if CHANGED.wait_until(&mut waiting, deadline).timed_out() {
            return;
        }
    }
}

impl Waiting {
    fn add(&mut self, line: &str) {
        if self.lines.len() + line.len() > LIMIT {
            self.left_out += 1;
            return;
        }
        self.push(line);
    }

    fn push(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }

    fn take(&mut self) -> String {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            count => {
                let said = json!({"event": "left_out", "lines": count, "at": Moment::now()});
                self.push(&said.to_string());
            }
        }
        std::mem::take(&mut self.lines)
    }
}

fn wake_writer() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without the thread nothing is written; a machine that has none left has no gateway either.
        let _ = Builder::new().name("output".to_owned()).spawn(write);
    });
    CHANGED.notify_all();
}

/// For ever.
fn write() {
    loop {
        let mut waiting = WAITING.lock();
        waiting.is_writing = false;
        CHANGED.notify_all();
        CHANGED.wait_while(&mut waiting, |waiting| waiting.lines.is_empty());
        waiting.is_writing = true;
        let lines = waiting.take();
        drop(waiting);
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: then the end of standard input or a signal is on its way.
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut waiting = Waiting { lines: String::new(), left_out: 0, is_writing: false };
        let long = "x".repeat(LIMIT / 4);
        for _ in 0..6 {
            waiting.add(&long);
        }
        waiting.push("an answer");
        let lines = waiting.take();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!((lines.len(), lines[3]), (5, "an answer"));
        assert!(lines[4].contains(r#""lines":3"#), "{}", lines[4]);
        assert_eq!(waiting.take(), "");
    }
}
