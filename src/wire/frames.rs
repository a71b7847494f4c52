//! Counts the frames on their way to tungstenite, and keeps the close frame back.
//!
//! tungstenite shows whole messages only, but a fragment of a long message is a sign of life too. A
//! close frame with a code that it does not know, 1014 for example, it would answer and show as 1002.

use std::io::{self, ErrorKind, Read, Write};

/// A stream that counts the WebSocket frames read from it. It ends, as if nothing more had come,
/// before a close frame, which is the session's to answer.
pub struct Metered<S> {
    /// What was read from the stream before it came here, and is not handed on yet.
    before: Vec<u8>,
    stream: S,
    meter: Meter,
}

/// Where the last read ended: in a frame's header, in its payload, or at a close frame.
#[derive(Debug, Default)]
pub struct Meter {
    state: State,
    frames: u64,
}

/// The gateway's close frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Close<'a> {
    /// It is not what RFC 6455 says a close frame is.
    Broken,
    /// Without a code.
    Bare,
    /// The reason should be UTF-8.
    Told(u16, &'a [u8]),
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; HEADER_LIMIT],
        have: usize,
    },
    Payload {
        left: u64,
    },
    /// The close frame so far. What comes behind it is thrown away.
    Close(Vec<u8>),
}

/// Two bytes, a length of eight, and a mask that a gateway must not use.
const HEADER_LIMIT: usize = 14;
const CLOSE: u8 = 8;
/// The largest payload of a control frame.
const CONTROL_LIMIT: u8 = 125;

impl<S> Metered<S> {
    /// `before` are the first bytes, which have already been read from the stream.
    pub fn new(stream: S, before: Vec<u8>) -> Metered<S> {
        Metered { before, stream, meter: Meter::default() }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl<S: Read> Metered<S> {
    /// Reads past the close frame, and throws away what comes; the count of bytes is 0 at the end.
    pub fn discard(&mut self) -> io::Result<usize> {
        let mut scratch = [0; 4096];
        let count = self.pull(&mut scratch)?;
        self.meter.feed(&scratch[..count]);
        Ok(count)
    }

    fn pull(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.before.is_empty() {
            return self.stream.read(buffer);
        }
        let count = self.before.as_slice().read(buffer)?;
        self.before = self.before.split_off(count);
        Ok(count)
    }
}

impl<S: Read> Read for Metered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.close().is_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.pull(buffer)?;
        match self.meter.feed(&buffer[..count]) {
            0 if count > 0 => Err(ErrorKind::WouldBlock.into()),
            shown => Ok(shown),
        }
    }
}

impl<S: Write> Write for Metered<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Meter {
    /// Frames that have arrived whole.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The close frame, once it has arrived whole.
    pub fn close(&self) -> Option<Close<'_>> {
        let State::Close(frame) = &self.state else { return None };
        let [first, length, payload @ ..] = frame.as_slice() else { return None };
        // The last fragment, no reserved bit, no mask, no more than a control frame may hold.
        if *first != 0x80 | CLOSE || *length > CONTROL_LIMIT {
            return Some(Close::Broken);
        }
        match payload.get(..usize::from(*length))? {
            [] => Some(Close::Bare),
            [_] => Some(Close::Broken),
            [high, low, reason @ ..] => {
                Some(Close::Told(u16::from_be_bytes([*high, *low]), reason))
            }
        }
    }

    /// Takes the bytes that have arrived, and returns how many of them are before a close frame.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut left = bytes;
        while let Some((&byte, rest)) = left.split_first() {
            left = match &mut self.state {
                State::Header { have: 0, .. } if byte & 0x0f == CLOSE => {
                    self.state = State::Close(Vec::new());
                    left
                }
                State::Header { .. } => {
                    self.take_header(byte);
                    rest
                }
                State::Payload { left: expected } => {
                    let taken = left.len().min(usize::try_from(*expected).unwrap_or(usize::MAX));
                    *expected -= taken as u64;
                    self.end_payload();
                    &left[taken..]
                }
                State::Close(frame) => {
                    let room = 2 + usize::from(CONTROL_LIMIT) - frame.len();
                    frame.extend(left.iter().take(room));
                    break;
                }
            }
        }
        bytes.len() - left.len()
    }

    fn take_header(&mut self, byte: u8) {
        let State::Header { bytes, have } = &mut self.state else { return };
        bytes[*have] = byte;
        *have += 1;
        if let Some(left) = payload_length(&bytes[..*have]) {
            self.state = State::Payload { left };
            self.end_payload();
        }
    }

    fn end_payload(&mut self) {
        if let State::Payload { left: 0 } = self.state {
            self.frames += 1;
            self.state = State::default();
        }
    }
}

impl Default for State {
    fn default() -> State {
        State::Header { bytes: [0; HEADER_LIMIT], have: 0 }
    }
}

/// The length of the payload once the header is complete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let (&second, rest) = header.get(1..)?.split_first()?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        length => return (rest.len() == mask).then_some(u64::from(length)),
    };
    let length = rest.get(..extended)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    (rest.len() == extended + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0; if masked { 4 } else { 0 } + length]);
        bytes
    }

    proptest! {
        #[test]
        fn every_frame_counts_once_however_it_is_cut(
            lengths in proptest::collection::vec((prop_oneof![0..130_usize, 65530..65540_usize], any::<bool>()), 0..6),
            cut in 1..5000_usize,
        ) {
            let mut bytes = Vec::new();
            for &(length, masked) in &lengths {
                bytes.extend(frame(1, length, masked));
            }
            let mut meter = Meter::default();
            for piece in bytes.chunks(cut) {
                meter.feed(piece);
            }
            prop_assert_eq!(meter.frames(), lengths.len() as u64);
            prop_assert_eq!(meter.close(), None);
        }
    }

    /// What a reader gets of the bytes in pieces of this size, and the meter after it.
    fn read_in_pieces(bytes: &[u8], size: usize) -> (Vec<u8>, Metered<&[u8]>) {
        let mut stream = Metered::new(&[] as &[u8], Vec::new());
        let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
        for piece in bytes.chunks(size) {
            stream.stream = piece;
            if let Ok(count) = stream.read(&mut buffer) {
                read.extend(&buffer[..count]);
            }
        }
        (read, stream)
    }

    #[test]
    fn a_close_frame_is_kept_back_and_what_is_before_it_is_not() {
        let text = frame(1, 300, false);
        let close = [&[0x88, 5, 0x03, 0xf6], b"why".as_slice()].concat();
        let bytes = [text.as_slice(), &close, b"behind"].concat();
        for size in 1..bytes.len() + 1 {
            let (read, mut stream) = read_in_pieces(&bytes, size);
            assert!(read == text, "{size}");
            assert_eq!(stream.meter().close(), Some(Close::Told(1014, b"why")), "{size}");
            // Nothing more is read, but by who does not look at it.
            stream.stream = b"more";
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(stream.discard().unwrap(), 4);
            assert_eq!(stream.discard().unwrap(), 0);
        }
    }

    #[test]
    fn a_close_frame_is_whole_bare_or_broken() {
        let close = |bytes: &[u8]| {
            let mut meter = Meter::default();
            assert_eq!(meter.feed(bytes), 0);
            meter.close().map(|close| match close {
                Close::Told(code, reason) => format!("{code} {}", String::from_utf8_lossy(reason)),
                other => format!("{other:?}"),
            })
        };
        assert_eq!(close(&[0x88]), None);
        assert_eq!(close(&[0x88, 2, 3]), None);
        assert_eq!(close(&[0x88, 0]).as_deref(), Some("Bare"));
        assert_eq!(close(&[0x88, 2, 0x03, 0xe8]).as_deref(), Some("1000 "));
        let longest = [&[0x88, 125, 0x0f, 0xa0], [b'x'; 200].as_slice()].concat();
        assert_eq!(close(&longest), Some(format!("4000 {}", "x".repeat(123))));
        // One byte, a fragment, a reserved bit, a mask, more than a control frame may hold.
        for broken in [[0x88, 1, 3], [0x08, 2, 3], [0xc8, 2, 3], [0x88, 0x82, 3], [0x88, 126, 0]] {
            assert_eq!(close(&broken).as_deref(), Some("Broken"), "{broken:x?}");
        }
    }

    #[test]
    fn what_was_read_before_comes_first_and_counts() {
        let (before, after) = (frame(1, 3, false), frame(2, 4, false));
        for size in 1..12 {
            let mut stream = Metered::new(after.as_slice(), before.clone());
            let (mut read, mut buffer) = (Vec::<u8>::new(), vec![0; size]);
            while let count @ 1.. = stream.read(&mut buffer).unwrap() {
                read.extend(&buffer[..count]);
            }
            assert_eq!(read, [before.as_slice(), &after].concat());
            assert_eq!(stream.meter().frames(), 2);
        }
    }

    #[test]
    fn half_a_frame_is_no_sign_of_life() {
        let mut meter = Meter::default();
        let bytes = frame(1, 5, false);
        meter.feed(&bytes[..bytes.len() - 1]);
        assert_eq!(meter.frames(), 0);
        meter.feed(&bytes[bytes.len() - 1..]);
        assert_eq!(meter.frames(), 1);
    }
}
