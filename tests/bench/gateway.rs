//! The gateway's side of a measured session: frames as they come, with the time at which each was
//! whole. Nothing is parsed while the clock runs.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Frame, PATIENCE, Session, opcode};

/// What came next.
pub enum Heard {
    Message { text: Vec<u8>, at: Instant },
    Pong { at: Instant },
    Close { code: u16, at: Instant },
}

pub struct Gateway {
    pub session: Session,
    /// What is there of a message in fragments.
    message: Vec<u8>,
    next_id: u64,
}

impl Gateway {
    pub fn of(session: Session) -> Gateway {
        Gateway { session, message: Vec::new(), next_id: 1 }
    }

    /// Sends a request; when, and its id.
    pub fn request(&mut self, method: &str, params: Value) -> (Instant, u64) {
        let id = self.next_id;
        self.next_id += 1;
        (self.request_as(&json!(id), method, &params), id)
    }

    /// The same with an id of the caller's.
    pub fn request_as(&mut self, id: &Value, method: &str, params: &Value) -> Instant {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = Frame::text(request.to_string());
        // Not by `send_request`, which checks the request first.
        let sent = Instant::now();
        self.session.send(&request);
        sent
    }

    /// Asks for as many lines as there may be.
    pub fn fetch(&mut self, container: &str) -> (Instant, u64) {
        self.request("logs_fetch", json!({"container": container, "lines": 5000}))
    }

    pub fn ping(&mut self) -> Instant {
        let sent = Instant::now();
        self.session.send(&Frame::new(opcode::PING, "bench"));
        sent
    }

    pub fn hear(&mut self) -> Heard {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = match self.session.next_frame(deadline) {
                Ok(frame) => frame,
                Err(lost) => panic!("the agent says nothing: {lost:?}"),
            };
            let at = frame.at;
            match frame.opcode {
                opcode::PING => self.session.send(&Frame::new(opcode::PONG, frame.payload)),
                opcode::PONG => return Heard::Pong { at },
                opcode::CLOSE => {
                    let code = frame.payload.first_chunk().copied();
                    return Heard::Close { code: code.map_or(1005, u16::from_be_bytes), at };
                }
                _ => {
                    self.message.extend(frame.payload);
                    if frame.last {
                        return Heard::Message { text: std::mem::take(&mut self.message), at };
                    }
                }
            }
        }
    }

    /// The next message, and when it was whole.
    pub fn message(&mut self) -> (Vec<u8>, Instant) {
        loop {
            match self.hear() {
                Heard::Message { text, at } => return (text, at),
                Heard::Pong { .. } => {}
                Heard::Close { code, .. } => panic!("the agent closed the session: {code}"),
            }
        }
    }

    pub fn pong(&mut self) -> Instant {
        match self.hear() {
            Heard::Pong { at } => at,
            Heard::Message { text, .. } => {
                panic!("not a pong: {}", String::from_utf8_lossy(&text[..text.len().min(200)]))
            }
            Heard::Close { code, .. } => panic!("the agent closed the session: {code}"),
        }
    }

    pub fn close(&mut self) -> (u16, Instant) {
        match self.hear() {
            Heard::Close { code, at } => (code, at),
            _ => panic!("no close frame"),
        }
    }
}

/// The result of a response; panics where it is an error.
pub fn result(text: &[u8]) -> Value {
    let mut message: Value = serde_json::from_slice(text).expect("JSON");
    match message["result"].take() {
        Value::Null => panic!("no result: {message}"),
        result => result,
    }
}
