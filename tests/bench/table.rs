//! What was measured, beside what was promised.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use crate::world::World;

pub struct Row {
    what: String,
    measured: String,
    promise: String,
    verdict: Verdict,
}

#[derive(PartialEq)]
enum Verdict {
    Kept,
    Missed,
    /// Nothing was promised.
    Told,
}

pub struct Table {
    pub rows: Vec<Row>,
    title: String,
    load: String,
    started: Instant,
}

impl Row {
    pub fn judged(what: &str, measured: impl Into<String>, promise: &str, kept: bool) -> Row {
        let verdict = if kept { Verdict::Kept } else { Verdict::Missed };
        Row { what: what.to_owned(), measured: measured.into(), promise: promise.into(), verdict }
    }

    pub fn told(what: &str, measured: impl Into<String>) -> Row {
        let promise = String::new();
        Row { what: what.to_owned(), measured: measured.into(), promise, verdict: Verdict::Told }
    }

    /// It could not be measured.
    pub fn missed(what: &str, promise: &str, why: &str) -> Row {
        Row::judged(what, why, promise, false)
    }
}

impl Table {
    pub fn about(world: &World) -> Table {
        let quick = world.pick("", ", quick: a smoke run, not a measurement");
        let title = format!("{}{quick}", world.version);
        Table { rows: Vec::new(), title, load: load(), started: Instant::now() }
    }

    /// Says on a terminal what is being measured now.
    pub fn progress<T>(&self, name: &str, measure: impl FnOnce() -> T) -> T {
        let mut terminal = io::stderr();
        let shown = terminal.is_terminal();
        if shown {
            let _ = write!(terminal, "\r\x1b[Kmeasuring: {name}");
        }
        let measured = measure();
        if shown {
            let _ = write!(terminal, "\r\x1b[Kmeasuring: the waits of a minute");
        }
        measured
    }

    pub fn finish(&mut self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let took = self.started.elapsed().as_secs();
        self.load = format!(
            "{processors} processors, load {} before and {} after {took} s; MB and kB are decimal",
            self.load,
            load()
        );
    }

    pub fn is_kept(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Missed)
    }
}

/// What else the machine has to do: how many processes wanted a processor over the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = |cell: fn(&Row) -> &str, head: &str| {
            self.rows.iter().map(|row| cell(row).chars().count()).chain([head.len()]).max()
        };
        let what = width(|row| &row.what, "what").unwrap_or(0);
        let measured = width(|row| &row.measured, "measured").unwrap_or(0);
        let promise = width(|row| &row.promise, "promise").unwrap_or(0);

        writeln!(f, "{}", self.title)?;
        writeln!(f, "{}\n", self.load)?;
        writeln!(f, "{:what$}  {:measured$}  {:promise$}", "what", "measured", "promise")?;
        for row in &self.rows {
            let verdict = match row.verdict {
                Verdict::Kept => "ok",
                Verdict::Missed => "MISSED",
                Verdict::Told => "",
            };
            let Row { what: about, measured: value, promise: held, .. } = row;
            let line = format!("{about:what$}  {value:measured$}  {held:promise$}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let missed = self.rows.iter().filter(|row| row.verdict == Verdict::Missed).count();
        match missed {
            0 => write!(f, "\nevery promise kept"),
            1 => write!(f, "\n1 promise MISSED"),
            _ => write!(f, "\n{missed} promises MISSED"),
        }
    }
}
