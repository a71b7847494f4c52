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

/// The length of docker's pieces, in bytes that the container wrote.
const PIECE: usize = 16 * 1024;
/// Bytes of a time stamp and the space behind it, at most.
const STAMP_SPACE: usize = Timestamp::MAX_LEN + 1;
/// Bytes that are kept of a line that is not complete: its stamp, its text up to the limit with the
/// rest of a character there, and one inner stamp, which has to be there whole to be taken out.
const KEPT: usize = STAMP_SPACE + TEXT_LIMIT + 4 + STAMP_SPACE;
/// A larger buffer is freed after the long line that needed it.
const SPARE: usize = 4 * 1024;
/// Bytes that are kept of docker's own last lines.
const COMPLAINT_LIMIT: usize = 2 * 1024;

/// What docker's `json-file` log driver writes for a byte that is not UTF-8, as
/// `String::from_utf8_lossy` does.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Reads the lines from one of docker's two pipes.
///
/// A line without a time stamp is docker's own: a warning at the beginning, or the error that ended
/// docker. The last such lines are kept for [`LaneParser::complaint`]. After a line with a stamp they
/// are also handed on, with that line's time: to lose a line of the container would be worse than to
/// show a line of docker.
#[derive(Debug, Default)]
pub struct LaneParser {
    open: OpenLine,
    /// The last stamp; empty before the first.
    ts: String,
    time: Option<Timestamp>,
    complaint: String,
}

impl LaneParser {
    /// Takes the next bytes of the pipe, and hands each line that they complete to `sink`.
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

    /// The pipe has ended: the bytes since the last newline are a line too.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        if !self.open.is_empty() {
            self.end_open_line(sink);
        }
    }

    /// Whether a line in pieces is not complete. It may never be: of such a line, some of docker's log
    /// drivers forget the newline.
    pub fn is_in_pieces(&self) -> bool {
        self.open.bytes.len() > PIECE
    }

    /// Docker's own last lines, up to 2 KiB, each with a newline.
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

    /// `more`: the line was longer than `line`.
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

/// A line that is not complete.
#[derive(Debug, Default)]
struct OpenLine {
    /// The line from its stamp on, without inner stamps. At most [`KEPT`] bytes.
    bytes: Vec<u8>,
    pieces: Pieces,
    /// Whether bytes other than carriage returns came after those kept.
    more: bool,
}

/// Where docker's next inner stamp may be.
///
/// The `json-file` driver writes U+FFFD, three bytes, for every byte that is not UTF-8. So a U+FFFD
/// stands for one byte of a piece, or for three if the container wrote U+FFFD itself. `least` and
/// `most` are the bounds on the bytes of the piece so far: it may end where 16 KiB lie between them.
#[derive(Debug, Default, Clone, Copy)]
enum Pieces {
    /// Too little of the line has come.
    #[default]
    Unknown,
    Looking {
        /// Where the piece began.
        start: usize,
        /// Where the search is: `most` is `at - start`.
        at: usize,
        least: usize,
    },
    /// The line is not in pieces, or the last piece has begun.
    Whole,
}

impl OpenLine {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.bytes.len() < KEPT {
            let (now, later) = bytes.split_at(bytes.len().min(KEPT - self.bytes.len()));
            // The buffer doubles, but never beyond the bytes that are kept.
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

    /// Takes out the inner stamps found so far. `ended`: no more bytes of this line will come.
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

    /// Whether a whole piece is here without U+FFFD, as is usual: then it ends after 16 KiB.
    fn is_plain_piece(&self, start: usize) -> bool {
        !self.bytes[start..start + PIECE].contains(&REPLACEMENT[0])
    }

    /// The length of docker's stamp at `at`, if there is a stamp. All pieces of a line have the same
    /// stamp. Only the `journald` driver, which does not write U+FFFD, may stamp a later piece later.
    fn inner_stamp(&self, start: usize, at: usize) -> Option<usize> {
        if at - start < PIECE {
            return None;
        }
        let (inner, len) = split_stamp(&self.bytes[at..])?;
        let (outer, _) = split_stamp(&self.bytes)?;
        (inner == outer || (inner > outer && at - start == PIECE)).then_some(len)
    }
}

/// The time stamp at the start of `line`, and its length. A space follows the stamp.
fn split_stamp(line: &[u8]) -> Option<(Timestamp, usize)> {
    Timestamp::parse_prefix(line).filter(|&(_, len)| line.get(len) == Some(&b' '))
}

/// The text of a line, and whether it was cut. `more`: the line was longer than `bytes`, which then
/// are longer than [`TEXT_LIMIT`].
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

/// As `String::from_utf8_lossy`, up to the chunk that passes [`TEXT_LIMIT`].
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
