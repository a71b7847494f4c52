//! What the demo looks like: a heading, then a line for each thing that happens, with its second
//! and who says it. Colour only on a terminal, and not with NO_COLOR.

use std::io::{IsTerminal, Write};
use std::time::Instant;

#[derive(Clone, Copy)]
pub struct Screen {
    colour: bool,
    started: Instant,
}

#[derive(Clone, Copy)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Dim,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => "\x1b[32m",
            Tone::Warning => "\x1b[33m",
            Tone::Bad => "\x1b[31m",
            Tone::Dim => "\x1b[2m",
        }
    }
}

impl Screen {
    pub fn new() -> Screen {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { colour: std::io::stdout().is_terminal() && !plain, started: Instant::now() }
    }

    /// With the clock at zero.
    pub fn restarted(self) -> Screen {
        Screen { started: Instant::now(), ..self }
    }

    pub fn title(&self, text: &str) {
        self.print(&self.paint("\x1b[1m", text));
    }

    pub fn about(&self, what: &str, text: &str) {
        self.print(&format!("  {}  {text}", self.paint(Tone::Dim.code(), &format!("{what:<10}"))));
    }

    pub fn gap(&self) {
        self.print("");
    }

    /// `what` happened at the gateway.
    pub fn gateway(&self, tone: Tone, what: &str, text: &str) {
        let what = self.paint(tone.code(), &format!("{what:<12}"));
        self.print(format!("{}  gateway  {what}  {text}", self.second()).trim_end());
    }

    /// What belongs to the line above.
    pub fn more(&self, text: &str) {
        self.print(&format!("{:34}{text}", ""));
    }

    /// A line of the agent's own log.
    pub fn agent(&self, tone: Tone, text: &str) {
        self.print(&self.paint(tone.code(), &format!("{}  agent    {text}", self.second())));
    }

    pub fn verdict(&self, text: &str) {
        self.print(&format!("\n{}", self.paint(Tone::Good.code(), text)));
    }

    pub fn failure(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "\n{text}");
    }

    fn second(&self) -> String {
        format!("{:6.1} s", self.started.elapsed().as_secs_f64())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !code.is_empty() {
            format!("{code}{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn print(&self, line: &str) {
        // A closed terminal is no reason to stop before cleaning up.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
