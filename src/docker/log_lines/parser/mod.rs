//! Reads one of docker's two pipes: bytes in as they come, in any pieces, and lines out. Pure.
//!
//! A parser holds at most one line, and of its text at most [`TEXT_LIMIT`].
//!
//! Docker breaks lines into pieces of 16 KiB and prints the time stamp again before each piece, on
//! the same line. The parser takes those inner stamps out where a piece must end, and nowhere else:
//! a time in the text stays. Docker's output does not tell two things, and they stay as printed:
//! where a container that did not end its last line was restarted, and where a line of more than
//! 16 KiB ended under the `local` log driver of engine 20.10, which drops that newline.

use std::borrow::Cow;
use std::mem;
use std::str;

use super::line::{Line, TEXT_LIMIT};
use crate::host::timestamp::Timestamp;

/// The length of docker's pieces, in bytes as the container wrote them.
const PIECE: usize = 16 * 1024;
/// A time stamp and the space behind it fit.
const STAMP_SPACE: usize = Timestamp::MAX_LEN + 1;
/// What is kept of a line that is not at its end: its stamp, its text to the limit and the rest of
/// a character there, and one inner stamp, to be seen whole before it is taken out.
const KEPT: usize = STAMP_SPACE + TEXT_LIMIT + 4 + STAMP_SPACE;
/// A buffer that a long line has made larger than this is given back after it.
const SPARE: usize = 4 * 1024;
/// The last words of docker itself that are kept, in bytes.
const COMPLAINT_LIMIT: usize = 2 * 1024;

/// How `String::from_utf8_lossy`, and docker's `json-file` log driver, write what is not UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Reads the lines from one of docker's two pipes.
///
/// A line without a time stamp is docker's own: a warning before all others, or the error that
/// ended it. The last of those are kept for [`LaneParser::complaint`]. Where a stamped line came
/// before, it is handed on too, with that line's time: losing a line that was the container's after
/// all would be worse than showing one of docker's.
#[derive(Debug, Default)]
pub struct LaneParser {
    open: OpenLine,
    /// The last stamp seen, empty at first.
    ts: String,
    time: Option<Timestamp>,
    complaint: String,
}

impl LaneParser {
    /// Takes the next bytes of the pipe; each line that ends in them is handed to `sink`.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.open.is_empty() && line.len() <= PIECE {
                self.end_line(line, false, sink);
            } else {
                self.open.append(line);
                self.end_open_line(sink);
            }
        }
        self.open.append(bytes);
    }

    /// The pipe has ended: what came since the last newline is a line too.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        if !self.open.is_empty() {
            self.end_open_line(sink);
        }
    }

    /// The last 2 KiB of the lines without a time stamp, each with a newline: what docker had to
    /// say.
    pub fn complaint(&self) -> &str {
        &self.complaint
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.open.bytes.capacity() + self.ts.capacity() + self.complaint.capacity()
    }

    fn end_open_line(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let mut open = mem::take(&mut self.open);
        open.join_pieces(true);
        self.end_line(&open.bytes, open.more, sink);
        if open.bytes.capacity() <= SPARE {
            open.bytes.clear();
            self.open.bytes = open.bytes;
        }
    }

    /// `more`: the line went on beyond what is in `line`.
    fn end_line(&mut self, line: &[u8], more: bool, sink: &mut dyn FnMut(Line<'_>)) {
        let (stamp, text) = match split_stamp(line) {
            Some((time, len)) => (Some((time, &line[..len])), &line[len + 1..]),
            None => (None, line),
        };
        let (text, cut) = decode(text, more);
        match stamp {
            Some((time, ts)) => {
                self.time = Some(time);
                self.ts.clear();
                self.ts.push_str(&String::from_utf8_lossy(ts));
            }
            None => self.complain(&text),
        }
        if let Some(time) = self.time {
            sink(Line { time, ts: &self.ts, text: &text, cut });
        }
    }

    fn complain(&mut self, text: &str) {
        self.complaint
            .push_str(&text[text.ceil_char_boundary(text.len().saturating_sub(COMPLAINT_LIMIT))..]);
        self.complaint.push('\n');
        let excess = self.complaint.len().saturating_sub(COMPLAINT_LIMIT);
        self.complaint.drain(..self.complaint.ceil_char_boundary(excess));
    }
}

/// The line whose end has not come yet.
#[derive(Debug, Default)]
struct OpenLine {
    /// The line from its stamp on, inner stamps taken out; at most [`KEPT`].
    bytes: Vec<u8>,
    pieces: Pieces,
    /// Whether anything but carriage returns came after what is kept.
    more: bool,
}

/// Where docker's next inner stamp may be.
///
/// The `json-file` driver writes U+FFFD, three bytes, for every byte that is not UTF-8, and so does
/// not say how much of a piece each stood for: one byte, or three if the container wrote U+FFFD
/// itself. A piece ends where between `least` and `most` bytes of it 16 KiB lie; elsewhere the two
/// are one.
#[derive(Debug, Default, Clone, Copy)]
enum Pieces {
    /// Too little of the line is here to tell.
    #[default]
    Unknown,
    Looking {
        /// Where the piece began.
        start: usize,
        /// Looked at up to here: `most` is `at - start`.
        at: usize,
        least: usize,
    },
    /// The line is not in pieces, or no longer.
    Whole,
}

impl OpenLine {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.bytes.len() < KEPT {
            let (now, later) = bytes.split_at(bytes.len().min(KEPT - self.bytes.len()));
            // Doubling, but never beyond what is kept.
            let wanted = self.bytes.len() + now.len();
            if wanted > self.bytes.capacity() {
                let capacity = wanted.max(2 * self.bytes.capacity()).min(KEPT);
                self.bytes.reserve_exact(capacity - self.bytes.len());
            }
            self.bytes.extend_from_slice(now);
            bytes = later;
            self.join_pieces(false);
        }
        self.more |= bytes.iter().any(|&byte| byte != b'\r');
    }

    /// Takes out the inner stamps as far as they can be told: `ended` says that no more will come.
    fn join_pieces(&mut self, ended: bool) {
        loop {
            self.pieces = match self.pieces {
                Pieces::Unknown if self.bytes.len() < STAMP_SPACE && !ended => return,
                Pieces::Unknown => match split_stamp(&self.bytes) {
                    Some((_, len)) => Pieces::Looking { start: len + 1, at: len + 1, least: 0 },
                    None => Pieces::Whole,
                },
                Pieces::Looking { start, .. } if self.bytes.len() < start + PIECE => return,
                Pieces::Looking { start, at, .. } if at == start && self.is_plain_piece(start) => {
                    Pieces::Looking { start, at: start + PIECE, least: PIECE }
                }
                Pieces::Looking { at, .. }
                    if self.bytes.len() < at + if ended { 1 } else { STAMP_SPACE } =>
                {
                    return;
                }
                Pieces::Looking { least, .. } if least > PIECE => Pieces::Whole,
                Pieces::Looking { start, at, least } => match self.inner_stamp(start, at) {
                    Some(len) => {
                        self.bytes.drain(at..at + len + 1);
                        Pieces::Looking { start: at, at, least: 0 }
                    }
                    None if self.bytes[at..].starts_with(REPLACEMENT) => {
                        Pieces::Looking { start, at: at + REPLACEMENT.len(), least: least + 1 }
                    }
                    None => Pieces::Looking { start, at: at + 1, least: least + 1 },
                },
                Pieces::Whole => return,
            }
        }
    }

    /// Whether the piece that is here has no U+FFFD in it, as is usual: nothing to look for before
    /// its end.
    fn is_plain_piece(&self, start: usize) -> bool {
        !self.bytes[start..start + PIECE].contains(&REPLACEMENT[0])
    }

    /// The length of docker's stamp at `at`, if one is there. All pieces of a line have the same
    /// stamp, but for the `journald` driver, where a later piece may be stamped later; it does not
    /// write U+FFFD.
    fn inner_stamp(&self, start: usize, at: usize) -> Option<usize> {
        if at - start < PIECE {
            return None;
        }
        let (inner, len) = split_stamp(&self.bytes[at..])?;
        let (outer, _) = split_stamp(&self.bytes)?;
        (inner == outer || (inner > outer && at - start == PIECE)).then_some(len)
    }
}

/// The time stamp that `line` starts with, and its length; a space follows it.
fn split_stamp(line: &[u8]) -> Option<(Timestamp, usize)> {
    Timestamp::parse_prefix(line).filter(|&(_, len)| line.get(len) == Some(&b' '))
}

/// The text of a line, and whether it had to be cut. `more`: the line went on beyond `bytes`, which
/// then are longer than [`TEXT_LIMIT`].
fn decode(bytes: &[u8], more: bool) -> (Cow<'_, str>, bool) {
    let bytes = if more { bytes } else { trim_end(bytes) };
    let mut text = match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(decode_lossy(bytes)),
    };
    let cut = more || text.len() > TEXT_LIMIT;
    if cut {
        let end = trim_end(&text.as_bytes()[..text.floor_char_boundary(TEXT_LIMIT)]).len();
        text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        };
    }
    (text, cut)
}

/// As `String::from_utf8_lossy`, but no further than the chunk that passes [`TEXT_LIMIT`].
fn decode_lossy(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        if text.len() > TEXT_LIMIT {
            break;
        }
    }
    text
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
