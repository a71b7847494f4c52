//! The messages that carry lines: a reply with all of them, or chunks and a count. Pure.

use log::Level;
use tungstenite::Bytes;

use crate::docker::log_lines::Merge;
use crate::requests::outcome::Answer;
use crate::wire::rpc::{self, Id, MESSAGE_LIMIT};

/// The end of a message after its last line.
const TAIL: &str = "]}}\n";
const TRUNCATED_TAIL: &str = "],\"truncated\":true}}\n";

/// How many bytes of lines a reply has room for.
pub fn reply_room(id: Option<&Id>) -> usize {
    MESSAGE_LIMIT - reply_head(id).len() - TRUNCATED_TAIL.len()
}

/// The reply that holds all lines.
pub fn reply(id: Option<&Id>, container: &str, lines: &mut Merge) -> Answer {
    let count = lines.len();
    let (tail, note) = match lines.is_truncated() {
        true => (TRUNCATED_TAIL, ", truncated"),
        false => (TAIL, ""),
    };
    let head = reply_head(id);
    let mut message = Vec::with_capacity(head.len() + lines.encoded_len() + tail.len());
    message.extend_from_slice(head.as_bytes());
    lines.move_all(&mut message);
    message.extend_from_slice(tail.as_bytes());
    answer(message.into(), container, &format!("{count} lines"), note)
}

/// How far the chunks of a request have got.
#[derive(Default)]
pub struct Chunks {
    seq: u64,
    sent: usize,
    /// Lines that were left out, and that the next chunk has to tell.
    pub dropped: usize,
}

impl Chunks {
    /// The next chunk: the oldest lines, at least one, until `enough` or as many as make up a message
    /// of `limit` bytes.
    pub fn next(
        &mut self,
        id: Option<&Id>,
        lines: &mut Merge,
        limit: usize,
        enough: &dyn Fn(&Merge) -> bool,
    ) -> Vec<u8> {
        let mut chunk = chunk_head(id, self.seq, std::mem::take(&mut self.dropped)).into_bytes();
        let room = limit - TAIL.len();
        let mut count = 0;
        while let Some(length) = lines.oldest_len() {
            if count > 0 && (enough(lines) || chunk.len() + 1 + length > room) {
                break;
            }
            if count > 0 {
                chunk.push(b',');
            }
            lines.move_oldest(&mut chunk);
            count += 1;
        }
        chunk.extend_from_slice(TAIL.as_bytes());
        self.seq += 1;
        self.sent += count;
        chunk
    }

    /// The answer after the last chunk. `ended` says what has ended a follow.
    pub fn count(
        &self,
        id: Option<&Id>,
        container: &str,
        truncated: bool,
        ended: Option<&str>,
    ) -> Answer {
        let count = self.sent;
        let truncated = if truncated { ",\"truncated\":true" } else { "" };
        let (member, note) = match ended {
            Some(what) => (format!(",\"ended\":\"{what}\""), format!(", ended: {what},")),
            None => Default::default(),
        };
        let message = format!("{}],\"streamed\":{count}{truncated}{member}}}}}\n", reply_head(id));
        answer(message.into(), container, &format!("{count} lines streamed{note}"), "")
    }
}

fn answer(message: Bytes, container: &str, what: &str, detail: &str) -> Answer {
    let summary = format!("{container}: {what}");
    Answer { message, summary, detail: detail.to_owned(), level: Level::Info }
}

fn reply_head(id: Option<&Id>) -> String {
    rpc::result_head(id) + "{\"lines\":["
}

fn chunk_head(id: Option<&Id>, seq: u64, dropped: usize) -> String {
    let id = id.map_or("null", Id::json);
    let dropped = if dropped > 0 { format!("\"dropped\":{dropped},") } else { String::new() };
    let head = rpc::notification_head("logs_chunk");
    format!("{head}{{\"id\":{id},\"seq\":{seq},{dropped}\"lines\":[")
}
