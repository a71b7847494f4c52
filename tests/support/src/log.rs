//! The agent's stderr: read by a thread as it comes, waited for by tests.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

#[derive(Clone)]
pub struct Log {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    pub fn of(source: impl Read + Send + 'static) -> Log {
        let log = Log { shared: Arc::default() };
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                // A terminal's other side ends with an error, not with an end of file.
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                writer.change(|state| state.lines.push(line));
            }
            writer.change(|state| state.ended = true);
        });
        log
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// The first line, at `from` or later, that holds each of `words`, in any case of letters.
    pub fn wait_for(&self, from: usize, words: &[&str], within: Duration) -> Option<String> {
        self.wait(within, |state| {
            let found = state.lines.iter().skip(from).find(|line| holds(line, words));
            found.cloned()
        })
    }

    /// All lines, once the agent and its children have closed stderr.
    pub fn wait_for_end(&self, within: Duration) -> Option<Vec<String>> {
        self.wait(within, |state| state.ended.then(|| state.lines.clone()))
    }

    fn wait<T>(&self, within: Duration, probe: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        loop {
            if let Some(found) = probe(&state) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
    }
}

pub fn holds(line: &str, words: &[&str]) -> bool {
    let line = line.to_lowercase();
    words.iter().all(|word| line.contains(&word.to_lowercase()))
}
