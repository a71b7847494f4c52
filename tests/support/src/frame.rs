//! WebSocket frames (RFC 6455 §5), just enough to send any frame, right or wrong, and to judge the agent's.

use std::time::Instant;

use super::stream::{Lost, Stream};

pub mod opcode {
    pub const CONTINUATION: u8 = 0x0;
    pub const TEXT: u8 = 0x1;
    pub const BINARY: u8 = 0x2;
    pub const CLOSE: u8 = 0x8;
    pub const PING: u8 = 0x9;
    pub const PONG: u8 = 0xA;
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub last: bool,
    /// The three reserved bits.
    pub reserved: u8,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
    pub at: Instant,
}

impl Frame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame {
            last: true,
            reserved: 0,
            opcode,
            masked: false,
            payload: payload.as_ref().to_vec(),
            at: Instant::now(),
        }
    }

    pub fn text(text: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::TEXT, text)
    }

    pub fn close(code: u16) -> Frame {
        Frame::new(opcode::CLOSE, code.to_be_bytes())
    }

    /// The same frame with more to follow.
    pub fn unfinished(self) -> Frame {
        Frame { last: false, ..self }
    }

    pub fn encode(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mut bytes = Frame::header(self.last, self.reserved, self.opcode, self.masked, length);
        let key = [0x12, 0x34, 0x56, 0x78];
        if self.masked {
            bytes.extend(key);
        }
        let masked = self.payload.iter().enumerate();
        bytes.extend(masked.map(|(at, byte)| byte ^ if self.masked { key[at % 4] } else { 0 }));
        bytes
    }

    /// A header that promises `length` bytes, without them.
    pub fn header(last: bool, reserved: u8, opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = u8::from(masked) << 7;
        let mut bytes = vec![u8::from(last) << 7 | reserved << 4 | opcode];
        if length < 126 {
            bytes.push(mask | length as u8);
        } else if let Ok(length) = u16::try_from(length) {
            bytes.push(mask | 126);
            bytes.extend(length.to_be_bytes());
        } else {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
        bytes
    }

    /// The agent's next frame; panics where it breaks a rule that every client frame has to keep.
    pub fn read(stream: &mut Stream, deadline: Instant) -> Result<Frame, Lost> {
        let head = stream.peek(2, deadline)?;
        let (last, reserved, opcode) = (head[0] & 0x80 != 0, head[0] >> 4 & 7, head[0] & 0x0F);
        assert!(head[1] & 0x80 != 0, "a client's frame must be masked");
        assert_eq!(reserved, 0, "no extension was agreed on");
        assert!(matches!(opcode, 0..=2 | 8..=10), "no such opcode: {opcode}");

        let (width, smallest) = match head[1] & 0x7F {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let short = usize::from(head[1] & 0x7F);
        let long = &stream.peek(2 + width, deadline)?[2..2 + width];
        let length = match width {
            0 => short,
            _ => long.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        };
        assert!(length >= smallest, "the shortest form of the length is the only one");
        assert!(opcode < 8 || (last && length < 126), "control frames are short and whole");

        let start = 2 + width + 4;
        let bytes = &stream.peek(start + length, deadline)?[..start + length];
        let key = &bytes[start - 4..start];
        let masked = bytes[start..].iter().enumerate();
        let payload = masked.map(|(at, byte)| byte ^ key[at % 4]).collect();
        stream.consume(start + length);
        Ok(Frame { last, reserved, opcode, masked: true, payload, at: Instant::now() })
    }
}
