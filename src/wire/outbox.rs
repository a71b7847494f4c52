//! The messages that wait to be sent. A large message is cut into fragments, so that pings, pongs
//! and the close frame pass between them. Pure.

use std::collections::VecDeque;

use tungstenite::Bytes;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::limits::FRAGMENT;

/// An outbox with more bytes than this, beside a large message, is full.
const LIMIT: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Bytes>,
    /// The part of a message that its fragments have not taken yet.
    rest: Bytes,
}

impl Outbox {
    pub fn push(&mut self, message: Bytes) {
        self.waiting.push_back(message);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.rest.is_empty()
    }

    /// Whether nothing new should be read, so that no more answers come to wait.
    pub fn is_full(&self) -> bool {
        self.waiting.iter().map(Bytes::len).sum::<usize>() > LIMIT + FRAGMENT
    }

    /// The next frame to send: a whole message, or a fragment.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mut kind = Data::Continue;
        if self.rest.is_empty() {
            self.rest = self.waiting.pop_front()?;
            kind = Data::Text;
        }
        let piece = self.rest.split_to(self.rest.len().min(FRAGMENT));
        Some(Frame::message(piece, OpCode::Data(kind), self.rest.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, length and the final bit of all frames.
    fn frames(outbox: &mut Outbox) -> Vec<(Data, usize, bool)> {
        let next = || outbox.next_frame();
        std::iter::from_fn(next)
            .map(|frame| {
                let header = frame.header();
                let OpCode::Data(kind) = header.opcode else { panic!("{header:?}") };
                (kind, frame.payload().len(), header.is_final)
            })
            .collect()
    }

    #[test]
    fn a_message_that_fits_is_one_frame() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());
        outbox.push(vec![0; FRAGMENT].into());
        outbox.push("x".into());
        assert_eq!(frames(&mut outbox), [(Data::Text, FRAGMENT, true), (Data::Text, 1, true)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_larger_message_goes_in_fragments_before_the_next() {
        let mut outbox = Outbox::default();
        outbox.push(vec![0; 2 * FRAGMENT + 1].into());
        outbox.push("x".into());
        outbox.next_frame();
        assert!(!outbox.is_empty());
        let rest =
            [(Data::Continue, FRAGMENT, false), (Data::Continue, 1, true), (Data::Text, 1, true)];
        assert_eq!(frames(&mut outbox), rest);
    }

    #[test]
    fn it_is_full_beyond_its_limit() {
        let mut outbox = Outbox::default();
        for _ in 0..5 {
            outbox.push(vec![0; FRAGMENT].into());
        }
        assert!(!outbox.is_full());
        outbox.push("x".into());
        assert!(outbox.is_full());
        // The message that is being sent does not count.
        outbox.next_frame();
        assert!(!outbox.is_full());
    }
}
