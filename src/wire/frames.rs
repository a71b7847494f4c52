//! Counts the frames on their way to tungstenite. tungstenite shows whole messages only, but a
//! fragment of a long message is a sign of life too.

use std::io::{self, Read, Write};

/// A stream that counts the WebSocket frames read from it.
pub struct Metered<S> {
    /// What was read from the stream before it came here, and is not handed on yet.
    before: Vec<u8>,
    stream: S,
    meter: Meter,
}

/// Where the last read ended: in a frame's header or in its payload.
#[derive(Debug, Default)]
pub struct Meter {
    state: State,
    frames: u64,
    close: bool,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; HEADER_LIMIT], have: usize },
    Payload { left: u64 },
}

/// Two bytes, a length of eight, and a mask that a gateway must not use.
const HEADER_LIMIT: usize = 14;
const CLOSE: u8 = 8;

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

impl<S: Read> Read for Metered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.before.is_empty() {
            true => self.stream.read(buffer)?,
            false => {
                let count = self.before.as_slice().read(buffer)?;
                self.before = self.before.split_off(count);
                count
            }
        };
        self.meter.feed(&buffer[..count]);
        Ok(count)
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

    /// Whether a close frame has arrived.
    pub fn saw_close(&self) -> bool {
        self.close
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match &mut self.state {
                State::Header { .. } => {
                    self.take_header(byte);
                    rest
                }
                State::Payload { left } => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    self.end_payload();
                    &bytes[taken..]
                }
            }
        }
    }

    fn take_header(&mut self, byte: u8) {
        let State::Header { bytes, have } = &mut self.state else { return };
        bytes[*have] = byte;
        *have += 1;
        if let Some(left) = payload_length(&bytes[..*have]) {
            self.close |= bytes[0] & 0x0f == CLOSE;
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
            prop_assert!(!meter.saw_close());
            meter.feed(&frame(CLOSE, 2, false));
            prop_assert!(meter.saw_close());
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
