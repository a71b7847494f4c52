//! What both sides have sent, in order and with its time, to be shown with a FAIL.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::frame::{self, Frame};

/// Characters that are kept of a frame.
const SHOWN: usize = 180;
/// Frames that are shown with a FAIL; a lane keeps no more lines than the second number.
const LAST: usize = 16;
const KEPT: usize = 50_000;

/// Who has sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Agent,
    Kit,
}

/// Shared by all that record a lane.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    began: Instant,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    pub fn new() -> Trace {
        Trace(Arc::new(Inner { began: Instant::now(), lines: Mutex::new(Vec::new()) }))
    }

    /// How many lines there are: where a check begins.
    pub fn mark(&self) -> usize {
        self.0.lines.lock().len()
    }

    /// The last lines since `mark`.
    pub fn since(&self, mark: usize) -> Vec<String> {
        let lines = self.0.lines.lock();
        let from = mark.min(lines.len()).max(lines.len().saturating_sub(LAST));
        lines[from..].to_vec()
    }

    /// Something that is no frame: a request, an answer, the end of a connection.
    pub fn note(&self, from: From, connection: u32, what: &str) {
        let arrow = if from == From::Agent { '<' } else { '>' };
        let at = self.0.began.elapsed().as_secs_f64();
        let mut lines = self.0.lines.lock();
        if lines.len() < KEPT {
            lines.push(format!("{at:8.3} s  #{connection} {arrow} {}", shortened(what)));
        }
    }

    pub fn frame(&self, from: From, connection: u32, frame: &Frame) {
        self.note(from, connection, &described(frame));
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace::new()
    }
}

fn described(frame: &Frame) -> String {
    let mut text = match frame.opcode {
        frame::CONTINUATION => "more ".to_owned(),
        frame::TEXT => String::new(),
        frame::BINARY => "binary ".to_owned(),
        frame::CLOSE => {
            let (code, reason) = frame.close();
            return format!("close {code} {reason}");
        }
        frame::PING => "ping ".to_owned(),
        frame::PONG => "pong ".to_owned(),
        other => format!("opcode {other} "),
    };
    if !frame.fin || frame.opcode == frame::CONTINUATION || frame.payload.len() > SHOWN {
        let end = if frame.fin { "" } else { ", not the last fragment" };
        let _ = write!(text, "({} bytes{end}) ", frame.payload.len());
    }
    let shown = &frame.payload[..frame.payload.len().min(SHOWN)];
    text + &String::from_utf8_lossy(shown)
}

/// One line of bounded length.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.trim_end().chars().take(SHOWN).collect();
    if shown.len() < text.trim_end().len() {
        shown.push_str(" ...");
    }
    shown.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
