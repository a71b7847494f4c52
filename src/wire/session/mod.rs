//! One live WebSocket: the next message in, messages out, the heartbeat, the close. The owner of
//! tungstenite. Messages are written a little each turn and never waited for.

mod lost;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message, Utf8Bytes, WebSocket};

use crate::wire::frames::{Close, Metered};
use crate::wire::heartbeat::{Beat, Heartbeat};
use crate::wire::limits::FRAGMENT;
use crate::wire::outbox::Outbox;
use crate::wire::transport::Transport;

pub use lost::Lost;

pub struct Session {
    websocket: WebSocket<Metered<Transport>>,
    outbox: Outbox,
    heartbeat: Heartbeat,
    /// A ping is due, and tungstenite's buffer has had no room for it so far.
    ping_owed: bool,
    /// All bytes that were written are in the socket.
    flushed: bool,
    /// Frames from the gateway so far.
    heard: u64,
    state: State,
}

enum State {
    Open,
    /// A close frame is on its way. Bytes that arrive are thrown away.
    Closing {
        why: Lost,
        until: Instant,
        ours: bool,
    },
}

impl Session {
    /// How long a close frame may stay without an answer.
    pub const DRAIN: Duration = Duration::from_millis(1500);

    pub fn new(websocket: WebSocket<Metered<Transport>>, now: Instant) -> Session {
        let heard = websocket.get_ref().meter().frames();
        Session {
            websocket,
            outbox: Outbox::default(),
            flushed: true,
            heartbeat: Heartbeat::new(now),
            ping_owed: false,
            heard,
            state: State::Open,
        }
    }

    /// The address of this session's socket on this machine.
    pub fn local_address(&mut self) -> io::Result<IpAddr> {
        Ok(self.websocket.get_mut().stream().local_address()?.ip().to_canonical())
    }

    /// Queues a message; it leaves in the turns to come.
    pub fn send(&mut self, message: impl Into<Bytes>) {
        if let State::Open = self.state {
            self.outbox.push(message.into());
        }
    }

    /// Whether no message waits to be sent, so that there is room for a large one.
    pub fn is_drained(&self) -> bool {
        self.outbox.is_empty()
    }

    /// As [`Session::is_drained`], and the last byte is in the socket.
    pub fn has_sent_all(&self) -> bool {
        self.is_drained() && self.flushed
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Sends a close frame. The turns to come wait up to `limit` for its answer and then report
    /// `why`. A session that is closing already keeps its reason, and waits no longer than `limit`.
    pub fn close(&mut self, now: Instant, code: CloseCode, why: String, limit: Duration) {
        if let State::Closing { until, .. } = &mut self.state {
            *until = (*until).min(now + limit);
            return;
        }
        // A reason has at most 123 bytes in a close frame; ours are ASCII.
        let reason: String = why.chars().filter(char::is_ascii).take(123).collect();
        // Bytes that the socket does not take now leave with the flushes to come.
        let _ = self.websocket.close(Some(CloseFrame { code, reason: reason.into() }));
        self.enter_closing(now, Lost::Left(why), limit, true);
    }

    /// When the next turn is due, even if nothing happens before.
    pub fn deadline(&self) -> Instant {
        match self.state {
            State::Open => self.heartbeat.deadline(),
            State::Closing { until, .. } => until,
        }
    }

    /// One pass: sends a ping that is due and some of the messages that wait, then reads one
    /// message. Where there is none to read, sleeps until the waiter wakes.
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
            // A request that waits for room goes first; the next turn reads.
            return Ok(None);
        }
        if self.outbox.is_full() {
            self.websocket.get_mut().stream().rest_unread().map_err(Lost::Socket)?;
            return Ok(None);
        }
        let read = self.websocket.read();
        // The read may have slept for half a minute, so the time is read again.
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
            // Kept back by the stream.
            Ok(Message::Close(_)) => {}
            Ok(Message::Binary(_)) => {
                self.fail(now, CloseCode::Unsupported, "a binary frame");
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => self.closed(now),
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
            Err(error) => self.fail(now, CloseCode::Protocol, &error.to_string()),
        }
        Ok(None)
    }

    /// Answers the gateway's close frame, if it has come: with its own code, or with what is wrong
    /// with it.
    fn closed(&mut self, now: Instant) {
        let (answer, why) = match self.websocket.get_ref().meter().close() {
            None => return,
            Some(Close::Broken) => {
                let why = "the gateway sent a broken close frame".to_owned();
                (Some(CloseCode::Protocol), Lost::Left(why))
            }
            Some(Close::Bare) => (None, Lost::Closed(None)),
            Some(Close::Told(code, reason)) => {
                let answer = match std::str::from_utf8(reason) {
                    _ if !lost::may_be_sent(code) => CloseCode::Protocol,
                    Ok(_) => code.into(),
                    Err(_) => CloseCode::Invalid,
                };
                let reason = String::from_utf8_lossy(reason).into_owned();
                (Some(answer), Lost::Closed(Some((code, reason))))
            }
        };
        let frame = answer.map(|code| CloseFrame { code, reason: Utf8Bytes::default() });
        // As in `close`.
        let _ = self.websocket.close(frame);
        self.enter_closing(now, why, Session::DRAIN, false);
    }

    /// Hands messages to the socket: as many small ones as make up a fragment, or one fragment of
    /// a large one.
    fn write_some(&mut self, now: Instant) -> Result<(), Lost> {
        let mut flushed = self.flush(now)?;
        let mut written = 0;
        while flushed && written < FRAGMENT {
            let Some(frame) = self.outbox.next_frame() else { break };
            written += frame.payload().len();
            self.websocket.write(Message::Frame(frame)).or_else(blocked_is_fine)?;
            flushed = self.flush(now)?;
        }
        self.flushed = flushed;
        let room = !flushed || !self.is_drained();
        self.websocket.get_mut().stream().expect_room(room);
        Ok(())
    }

    /// Hands all bytes written so far to the socket; true if it took them all.
    fn flush(&mut self, now: Instant) -> Result<bool, Lost> {
        if self.ping_owed {
            match self.websocket.write(Message::Ping(Bytes::new())) {
                // The buffer is full of pongs that the gateway has asked for and does not read.
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

    /// Closes the session because the gateway has broken the protocol.
    fn fail(&mut self, now: Instant, code: CloseCode, what: &str) {
        self.close(now, code, format!("the gateway sent {what}"), Session::DRAIN);
    }

    fn enter_closing(&mut self, now: Instant, why: Lost, limit: Duration, ours: bool) {
        self.outbox = Outbox::default();
        self.state = State::Closing { why, until: now + limit, ours };
    }

    /// After a close frame: writes the rest of it, and reads until the gateway has answered or has
    /// hung up. Reads past tungstenite, which may have failed on the bytes that arrive. Closing the
    /// socket with bytes unread would make the kernel drop the bytes on their way out.
    fn drain(&mut self, now: Instant) -> Result<(), Lost> {
        let flushed = matches!(self.websocket.flush(), Ok(()));
        let stream = self.websocket.get_mut();
        stream.stream().expect_room(!flushed);
        let ended = match stream.discard() {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let closed = stream.meter().close().is_some();
        if let State::Closing { why, until, ours } = &mut self.state
            && (ended || now >= *until || (*ours && closed && flushed))
        {
            return Err(std::mem::replace(why, Lost::Ended));
        }
        Ok(())
    }
}

/// Bytes that the socket does not take now stay in tungstenite's buffer and leave with a later flush.
fn blocked_is_fine(error: tungstenite::Error) -> Result<(), Lost> {
    match error {
        tungstenite::Error::Io(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        tungstenite::Error::Io(error) => Err(Lost::Socket(error)),
        error => Err(Lost::Socket(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests;
