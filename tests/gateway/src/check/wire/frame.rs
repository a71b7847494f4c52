//! WebSocket frames, byte by byte. The kit has to see what a library would hide (masks, reserved bits,
//! the form of a length) and to send what a library would refuse.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// More than any agent may send, and little enough to hold.
const LONGEST: u64 = 64 * 1024 * 1024;

/// A frame as it came, already without its mask.
#[derive(Clone, Debug)]
pub struct Frame {
    pub fin: bool,
    /// The three reserved bits.
    pub reserved: u8,
    pub opcode: u8,
    pub masked: bool,
    /// Whether its length has the shortest form that holds it.
    pub shortest: bool,
    pub payload: Vec<u8>,
    /// Bytes of the payload as it came.
    pub length: usize,
}

impl Frame {
    pub fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }

    /// The code and the reason of a close frame; 1005 stands for none.
    pub fn close(&self) -> (u16, String) {
        match &self.payload[..] {
            [high, low, reason @ ..] => {
                (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())
            }
            _ => (1005, String::new()),
        }
    }
}

/// The next frame; `None` at the end of the stream between two frames.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let (length, shortest) = match head[1] & 0x7f {
        126 => {
            let length = u64::from(stream.read_u16().await?);
            (length, length > 125)
        }
        127 => {
            let length = stream.read_u64().await?;
            (length, length > 0xffff)
        }
        length => (u64::from(length), true),
    };
    if length > LONGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let masked = head[1] & 0x80 != 0;
    let mut mask = [0; 4];
    if masked {
        stream.read_exact(&mut mask).await?;
    }
    // Not allocated at once: the length is only what the agent says.
    let mut payload = Vec::new();
    if stream.take(length).read_to_end(&mut payload).await? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    let (fin, reserved, opcode) = (head[0] & 0x80 != 0, head[0] >> 4 & 7, head[0] & 15);
    let length = payload.len();
    Ok(Some(Frame { fin, reserved, opcode, masked, shortest, payload, length }))
}

/// A server's frame. `first` is the first byte: FIN, the reserved bits and the opcode.
pub fn encode(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(length as u8),
        length @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The first byte of a whole frame.
pub const fn whole(opcode: u8) -> u8 {
    0x80 | opcode
}
