//! One live WebSocket: the next message in, messages out, the heartbeat, the close. The owner of
//! tungstenite.
//!
//! What leaves is written a little each turn and never waited for. A large message goes out in
//! fragments, so that pings, pongs and the close pass between them.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Message, Utf8Bytes, WebSocket};

use crate::wire::frames::Metered;
use crate::wire::heartbeat::{Beat, Death, Heartbeat};
use crate::wire::rpc::MESSAGE_LIMIT;
use crate::wire::transport::Transport;

/// A message in one frame has at most this many bytes; beyond it, so has each fragment.
const FRAGMENT: usize = 64 * 1024;
/// While more than this waits to be sent, beside a large message, nothing new is read.
const OUTBOX_LIMIT: usize = 256 * 1024;
pub struct Session {
    websocket: WebSocket<Metered<Transport>>,
    outbox: VecDeque<Bytes>,
    /// What is left of the message that is being sent in fragments.
    rest: Bytes,
    heartbeat: Heartbeat,
    /// A ping is due that has found no room so far.
    ping_owed: bool,
    /// All that was written is in the socket.
    flushed: bool,
    /// Frames from the gateway so far.
    heard: u64,
    state: State,
}

enum State {
    Open,
    /// A close frame is on its way; what arrives is thrown away.
    Closing {
        why: Lost,
        until: Instant,
        ours: bool,
    },
}

/// Why a session is over.
#[derive(Debug)]
pub enum Lost {
    /// The gateway closed it, with a code and a reason.
    Closed(Option<(u16, String)>),
    /// The connection ended without a close frame.
    Ended,
    Socket(io::Error),
    Dead(Death),
    /// We closed it, for this reason.
    Left(String),
}

/// tungstenite with the protocol's limits in place of its own, which are far larger.
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
        .read_buffer_size(8 * 1024)
        // A fragment and the control frames beside it are collected before they are written.
        .write_buffer_size(2 * FRAGMENT)
        .max_write_buffer_size(4 * FRAGMENT)
}

impl Session {
    /// How long a close frame may stay without an answer.
    pub const DRAIN: Duration = Duration::from_millis(1500);

    pub fn new(websocket: WebSocket<Metered<Transport>>, now: Instant) -> Session {
        let heard = websocket.get_ref().meter().frames();
        Session {
            websocket,
            outbox: VecDeque::new(),
            rest: Bytes::new(),
            flushed: true,
            heartbeat: Heartbeat::new(now),
            ping_owed: false,
            heard,
            state: State::Open,
        }
    }

    /// The address that this session's socket has on this machine.
    pub fn local_address(&mut self) -> io::Result<IpAddr> {
        Ok(self.websocket.get_mut().stream().local_address()?.ip().to_canonical())
    }

    /// Queues a message; it leaves in the turns to come.
    pub fn send(&mut self, message: impl Into<Bytes>) {
        if let State::Open = self.state {
            self.outbox.push_back(message.into());
        }
    }

    /// Nothing waits to be sent: room for a large message.
    pub fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.rest.is_empty()
    }

    /// As [`Session::is_drained`], and the last of it is in the socket.
    pub fn has_sent_all(&self) -> bool {
        self.is_drained() && self.flushed
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Sends a close frame; the turns to come wait up to `limit` for its answer and then report
    /// `why`.
    pub fn close(&mut self, now: Instant, code: CloseCode, why: String, limit: Duration) {
        if let State::Closing { until, .. } = &mut self.state {
            *until = (*until).min(now + limit);
            return;
        }
        // A reason has at most 123 bytes in a close frame; ours are ASCII.
        let reason: String = why.chars().filter(char::is_ascii).take(123).collect();
        // What does not leave at once leaves with the flushes to come.
        let _ = self.websocket.close(Some(CloseFrame { code, reason: reason.into() }));
        self.enter_closing(now, Lost::Left(why), limit, true);
    }

    /// When the next turn is due even if nothing happens.
    pub fn deadline(&self) -> Instant {
        match self.state {
            State::Open => self.heartbeat.deadline(),
            State::Closing { until, .. } => until,
        }
    }

    /// One pass: pings what is due, writes some of what waits, and reads one message, sleeping
    /// where there is none until the waiter wakes.
    pub fn turn(&mut self, now: Instant) -> Result<Option<Utf8Bytes>, Lost> {
        if self.is_closing() {
            return self.drain(now).map(|()| None);
        }
        match self.heartbeat.beat(now) {
            Beat::Dead(death) => return Err(Lost::Dead(death)),
            Beat::Ping => {
                self.ping_owed = true;
                self.heartbeat.ping_queued(now);
            }
            Beat::Wait => {}
        }
        let was_sent = self.has_sent_all();
        self.write_some(now)?;
        if self.has_sent_all() && !was_sent {
            // Whoever waits for room goes first; the next turn reads.
            return Ok(None);
        }
        if self.outbox.iter().map(Bytes::len).sum::<usize>() > OUTBOX_LIMIT + FRAGMENT {
            self.websocket.get_mut().stream().rest_unread().map_err(Lost::Socket)?;
            return Ok(None);
        }
        let read = self.websocket.read();
        // A new turn begins where the read has slept, and it may have for half a minute.
        let now = Instant::now();
        let frames = self.websocket.get_ref().meter().frames();
        if frames != self.heard {
            self.heard = frames;
            self.heartbeat.heard();
        }
        self.received(now, read)
    }

    fn received(
        &mut self,
        now: Instant,
        read: tungstenite::Result<Message>,
    ) -> Result<Option<Utf8Bytes>, Lost> {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;

        match read {
            Ok(Message::Text(text)) => return Ok(Some(text)),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Binary(_)) => {
                self.fail(now, CloseCode::Unsupported, "a binary frame");
            }
            Ok(Message::Close(frame)) => {
                let told = frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                self.enter_closing(now, Lost::Closed(told), Session::DRAIN, false);
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Lost::Ended);
            }
            Err(Error::Io(error)) => return Err(Lost::Socket(error)),
            Err(Error::Capacity(_)) => {
                self.fail(now, CloseCode::Size, "a message over 1 MiB");
            }
            Err(Error::Utf8(_)) => {
                self.fail(now, CloseCode::Invalid, "a text frame that is not UTF-8");
            }
            Err(Error::Protocol(ResetWithoutClosingHandshake)) => return Err(Lost::Ended),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Err(Lost::Closed(None)),
            Err(error) => self.fail(now, CloseCode::Protocol, &error.to_string()),
        }
        Ok(None)
    }

    /// Hands messages to the socket: as many small ones as make up a fragment, or one fragment of
    /// a large one.
    fn write_some(&mut self, now: Instant) -> Result<(), Lost> {
        let mut flushed = self.flush(now)?;
        let mut written = 0;
        while flushed && written < FRAGMENT {
            let Some(frame) = self.next_frame() else { break };
            written += frame.payload().len();
            self.websocket.write(Message::Frame(frame)).or_else(blocked_is_fine)?;
            flushed = self.flush(now)?;
        }
        self.flushed = flushed;
        let room = !flushed || !self.is_drained();
        self.websocket.get_mut().stream().expect_room(room);
        Ok(())
    }

    /// The next frame to send: a whole message, or a piece of one.
    fn next_frame(&mut self) -> Option<Frame> {
        let mut kind = Data::Continue;
        if self.rest.is_empty() {
            self.rest = self.outbox.pop_front()?;
            kind = Data::Text;
        }
        let piece = self.rest.split_to(self.rest.len().min(FRAGMENT));
        Some(Frame::message(piece, OpCode::Data(kind), self.rest.is_empty()))
    }

    /// True if all that was written so far is in the socket.
    fn flush(&mut self, now: Instant) -> Result<bool, Lost> {
        if self.ping_owed {
            match self.websocket.write(Message::Ping(Bytes::new())) {
                // Full of pongs that a gateway asks for and does not take.
                Err(tungstenite::Error::WriteBufferFull(_)) => {}
                written => {
                    written.or_else(blocked_is_fine)?;
                    self.ping_owed = false;
                }
            }
        }
        match self.websocket.flush() {
            Ok(()) if self.ping_owed => Ok(false),
            Ok(()) => {
                self.heartbeat.flushed(now);
                Ok(true)
            }
            Err(error) => blocked_is_fine(error).map(|()| false),
        }
    }

    /// Leaves a gateway that sent what this wire does not carry.
    fn fail(&mut self, now: Instant, code: CloseCode, what: &str) {
        self.close(now, code, format!("the gateway sent {what}"), Session::DRAIN);
    }

    fn enter_closing(&mut self, now: Instant, why: Lost, limit: Duration, ours: bool) {
        self.outbox.clear();
        self.rest = Bytes::new();
        self.state = State::Closing { why, until: now + limit, ours };
    }

    /// After a close frame: lets it leave and reads on, past tungstenite, which may have given up
    /// on what arrives, until the other side has answered or has hung up. Closing the socket with
    /// bytes unread would make the kernel throw away what is on its way out.
    fn drain(&mut self, now: Instant) -> Result<(), Lost> {
        let flushed = matches!(self.websocket.flush(), Ok(()));
        let stream = self.websocket.get_mut();
        stream.stream().expect_room(!flushed);
        let mut scratch = [0; 4096];
        let ended = match stream.read(&mut scratch) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let closed = stream.meter().saw_close();
        if let State::Closing { why, until, ours } = &mut self.state
            && (ended || now >= *until || (*ours && closed && flushed))
        {
            return Err(std::mem::replace(why, Lost::Ended));
        }
        Ok(())
    }
}

/// What the socket does not take now stays in tungstenite's buffer and leaves with a later flush.
fn blocked_is_fine(error: tungstenite::Error) -> Result<(), Lost> {
    match error {
        tungstenite::Error::Io(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        tungstenite::Error::Io(error) => Err(Lost::Socket(error)),
        // The close that was read last has been answered.
        _ => Err(Lost::Closed(None)),
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Lost::Closed(None) => f.write_str("the gateway closed the session"),
            Lost::Closed(Some((code, reason))) if reason.is_empty() => {
                write!(f, "the gateway closed the session ({code})")
            }
            Lost::Closed(Some((code, reason))) => {
                write!(f, "the gateway closed the session ({code}: {})", reason.escape_debug())
            }
            Lost::Ended => f.write_str("the connection ended without a close frame"),
            Lost::Socket(error) => write!(f, "the connection failed: {error}"),
            Lost::Dead(Death::Unanswered) => f.write_str("no pong within 10 s"),
            Lost::Dead(Death::Unsent) => {
                f.write_str("the gateway does not read: a ping did not leave within 10 s")
            }
            Lost::Left(why) => f.write_str(why),
        }
    }
}
