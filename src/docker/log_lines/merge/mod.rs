//! Puts the lines of two lanes in order, and keeps them in the form in which they are sent.
//!
//! Lines are encoded when they come in, and kept as bytes in small blocks. A block is freed as soon as
//! it is empty. So there is no allocation for each line, no slack of a buffer that doubles, and no
//! second copy while lines move into a message. A line costs its bytes and one entry of 24 bytes.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::line::{Lane, Line};
use crate::host::timestamp::Timestamp;

/// A little under 16 KiB: with the allocator's bookkeeping a block fits musl's size class of 16 KiB.
const BLOCK: usize = 16_000;

/// A list of more entries is freed once it is empty.
const SPARE: usize = 64;

/// Lines waiting to be sent, oldest first. At the same time standard output goes first. Each lane
/// keeps its own order, even if its clock was set back.
///
/// For a reply in one message call [`Merge::forget_oldest`] while [`Merge::is_over_limit`]: the newest
/// lines that fit are left, however the two pipes interleaved. For a stream move the oldest out
/// instead: lines further apart than the limit may then be out of order.
#[derive(Debug)]
pub struct Merge {
    stdout: Pending,
    stderr: Pending,
    /// In bytes of [`Merge::encoded_len`].
    limit: usize,
    /// Lines from before this one are dropped: the newest line that was forgotten.
    forgotten: Option<(Timestamp, Lane)>,
    truncated: bool,
}

impl Merge {
    pub fn new(limit: usize) -> Merge {
        Merge {
            stdout: Pending::default(),
            stderr: Pending::default(),
            limit,
            forgotten: None,
            truncated: false,
        }
    }

    pub fn push(&mut self, lane: Lane, line: Line<'_>) {
        let pending = self.lane(lane);
        // A clock that was set back does not reorder a lane.
        let time = line.time.max(pending.latest.unwrap_or(line.time));
        pending.latest = Some(time);
        if self.forgotten.is_some_and(|forgotten| (time, lane) < forgotten) {
            self.truncated = true;
            return;
        }
        self.truncated |= line.cut;
        self.lane(lane).push(lane, time, line);
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many lines are waiting.
    pub fn len(&self) -> usize {
        self.stdout.entries.len() + self.stderr.entries.len()
    }

    /// Bytes of the waiting lines as the elements of a JSON array, with commas, without brackets.
    pub fn encoded_len(&self) -> usize {
        (self.stdout.bytes.len + self.stderr.bytes.len + self.len()).saturating_sub(1)
    }

    /// The latest time that a line of this lane has had so far.
    pub fn latest(&self, lane: Lane) -> Option<Timestamp> {
        match lane {
            Lane::Stdout => self.stdout.latest,
            Lane::Stderr => self.stderr.latest,
        }
    }

    /// The time of the oldest line.
    pub fn oldest_time(&self) -> Option<Timestamp> {
        self.oldest().map(|(time, _)| time)
    }

    pub fn is_over_limit(&self) -> bool {
        self.encoded_len() > self.limit
    }

    /// Whether a line was forgotten ([`Merge::forget_oldest`]), or a text cut.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.stdout.held() + self.stderr.held()
    }

    /// Drops the oldest line, and from now on each new line from before it.
    pub fn forget_oldest(&mut self) {
        if let Some(oldest) = self.oldest() {
            self.discard_oldest();
            self.forgotten = Some(oldest);
            self.truncated = true;
        }
    }

    /// Drops the oldest line, which somebody else counts. Says whether there was one.
    pub fn discard_oldest(&mut self) -> bool {
        let Some((_, lane)) = self.oldest() else { return false };
        let pending = self.lane(lane);
        let Some(len) = pending.pop() else { return false };
        pending.bytes.discard(len);
        true
    }

    /// Bytes of the oldest line, without a comma.
    pub fn oldest_len(&self) -> Option<usize> {
        let (_, lane) = self.oldest()?;
        let pending = match lane {
            Lane::Stdout => &self.stdout,
            Lane::Stderr => &self.stderr,
        };
        pending.entries.front().map(|entry| entry.len)
    }

    /// Appends the oldest line to `out`, as `{"ts":...,"text":...}` or
    /// `{"ts":...,"text":...,"from":"stderr"}`, and says whether there was one.
    pub fn move_oldest(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((_, lane)) = self.oldest() else { return false };
        let pending = self.lane(lane);
        let Some(len) = pending.pop() else { return false };
        pending.bytes.move_front(len, out);
        true
    }

    /// Appends all lines to `out`, with commas between them: [`Merge::encoded_len`] bytes.
    pub fn move_all(&mut self, out: &mut Vec<u8>) {
        out.reserve_exact(self.encoded_len());
        while self.move_oldest(out) {
            if !self.is_empty() {
                out.push(b',');
            }
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut Pending {
        match lane {
            Lane::Stdout => &mut self.stdout,
            Lane::Stderr => &mut self.stderr,
        }
    }

    /// The time and lane of the line that is next.
    fn oldest(&self) -> Option<(Timestamp, Lane)> {
        let heads = [(&self.stdout, Lane::Stdout), (&self.stderr, Lane::Stderr)];
        heads
            .iter()
            .filter_map(|(pending, lane)| Some((pending.entries.front()?.time, *lane)))
            .min()
    }
}

/// One lane's lines: their encoded bytes, one line behind the other, and where each ends.
#[derive(Debug, Default)]
struct Pending {
    entries: VecDeque<Entry>,
    bytes: Blocks,
    /// The latest time so far, also of lines that were sent.
    latest: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    time: Timestamp,
    /// Bytes, encoded.
    len: usize,
}

impl Pending {
    fn push(&mut self, lane: Lane, time: Timestamp, line: Line<'_>) {
        let before = self.bytes.len;
        self.bytes.append(b"{\"ts\":");
        self.bytes.append_json(line.ts);
        self.bytes.append(b",\"text\":");
        self.bytes.append_json(line.text);
        self.bytes.append(match lane {
            Lane::Stdout => b"}",
            Lane::Stderr => b",\"from\":\"stderr\"}",
        });
        self.entries.push_back(Entry { time, len: self.bytes.len - before });
    }

    fn pop(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        if self.entries.is_empty() && self.entries.capacity() > SPARE {
            self.entries = VecDeque::new();
        }
        Some(entry.len)
    }

    fn held(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.bytes.blocks.len() * BLOCK
    }
}

/// A queue of bytes in blocks of equal size.
#[derive(Debug, Default)]
struct Blocks {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes that were taken from the first block.
    taken: usize,
    /// Bytes in the queue.
    len: usize,
}

impl Blocks {
    fn append(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            match self.blocks.back_mut() {
                Some(last) if last.len() < BLOCK => {
                    let (now, later) = bytes.split_at(bytes.len().min(BLOCK - last.len()));
                    last.extend_from_slice(now);
                    bytes = later;
                }
                _ => self.blocks.push_back(Vec::with_capacity(BLOCK)),
            }
        }
    }

    fn append_json(&mut self, text: &str) {
        // This can't fail: a string has no keys, and `write` below takes every byte.
        let written = serde_json::to_writer(&mut *self, text);
        debug_assert!(written.is_ok());
    }

    fn move_front(&mut self, len: usize, out: &mut Vec<u8>) {
        self.take(len, |bytes| out.extend_from_slice(bytes));
    }

    fn discard(&mut self, len: usize) {
        self.take(len, |_| ());
    }

    /// Takes `len` bytes from the front, and frees the blocks that this empties.
    fn take(&mut self, mut len: usize, mut each: impl FnMut(&[u8])) {
        while let Some(first) = self.blocks.front()
            && len > 0
        {
            let bytes = &first[self.taken..first.len().min(self.taken + len)];
            each(bytes);
            len -= bytes.len();
            self.len -= bytes.len();
            self.taken += bytes.len();
            if self.taken == BLOCK || self.len == 0 {
                self.blocks.pop_front();
                self.taken = 0;
            }
        }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
