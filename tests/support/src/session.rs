//! A session as the gateway sees it: JSON-RPC over raw frames. Every message of the agent's is checked, and
//! every message to it that is not broken on purpose.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    PATIENCE,
    frame::{Frame, opcode},
    peer::Upgrade,
    response::{Response, checked},
    schemas::Conversation,
    stream::{Lost, Stream},
};

pub struct Session {
    pub stream: Stream,
    pub upgrade: Upgrade,
    /// Whether the agent's pings are answered, as soon as a test reads on.
    pub answers_pings: bool,
    /// When each of the agent's pings was read.
    pub pings: Vec<Instant>,
    pongs: VecDeque<Frame>,
    inbox: VecDeque<String>,
    fragments: Option<Vec<u8>>,
    conversation: Conversation,
    register_id: Option<Box<RawValue>>,
    next_id: u32,
}

/// Why no message came.
#[derive(Debug)]
pub enum End {
    /// The agent's close frame; no code is 1005, as RFC 6455 has it.
    Closed(u16),
    Lost(Lost),
}

impl Session {
    pub fn new(stream: Stream, upgrade: Upgrade) -> Session {
        Session {
            stream,
            upgrade,
            answers_pings: true,
            pings: Vec::new(),
            pongs: VecDeque::new(),
            inbox: VecDeque::new(),
            fragments: None,
            conversation: Conversation::default(),
            register_id: None,
            next_id: 1000,
        }
    }

    // Sending.

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write(bytes).expect("the agent reads");
    }

    pub fn send(&mut self, frame: &Frame) {
        self.send_raw(&frame.encode());
    }

    /// Sends a text that may be broken on purpose.
    pub fn send_text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.conversation.note(&String::from_utf8_lossy(text));
        self.send(&Frame::text(text));
    }

    /// Sends a text that keeps to the schemas.
    #[track_caller]
    pub fn send_checked(&mut self, text: &str) {
        self.conversation.from_gateway(text);
        self.send(&Frame::text(text));
    }

    #[track_caller]
    pub fn send_request(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        let id: Value = id.into();
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_checked(&request.to_string());
    }

    #[track_caller]
    pub fn notify(&mut self, method: &str, params: Value) {
        let notification = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.send_checked(&notification.to_string());
    }

    // Receiving.

    pub fn next_frame(&mut self, deadline: Instant) -> Result<Frame, Lost> {
        Frame::read(&mut self.stream, deadline)
    }

    /// The next message within `within`, its control frames dealt with on the way.
    pub fn try_next(&mut self, within: Duration) -> Result<String, End> {
        if let Some(text) = self.inbox.pop_front() {
            return Ok(text);
        }
        self.read_message(Instant::now() + within)
    }

    /// Nothing comes for so long.
    #[track_caller]
    pub fn rest(&mut self, time: Duration) {
        match self.try_next(time) {
            Err(End::Lost(Lost::Deadline)) => {}
            heard => panic!("the agent was not at rest: {heard:?}"),
        }
    }

    fn read_message(&mut self, deadline: Instant) -> Result<String, End> {
        loop {
            if let Some(text) = self.read_frame(deadline)? {
                return Ok(text);
            }
        }
    }

    /// Takes in one frame; the message that it completes.
    fn read_frame(&mut self, deadline: Instant) -> Result<Option<String>, End> {
        let frame = self.next_frame(deadline).map_err(End::Lost)?;
        match frame.opcode {
            opcode::PING => {
                self.pings.push(frame.at);
                if self.answers_pings {
                    self.send(&Frame::new(opcode::PONG, frame.payload));
                }
            }
            opcode::PONG => self.pongs.push_back(frame),
            opcode::CLOSE => {
                let code = frame.payload.first_chunk().copied().map_or(1005, u16::from_be_bytes);
                return Err(End::Closed(code));
            }
            opcode::TEXT | opcode::CONTINUATION => {
                let continued = frame.opcode == opcode::CONTINUATION;
                assert_eq!(continued, self.fragments.is_some(), "fragments in order");
                let mut message = self.fragments.take().unwrap_or_default();
                message.extend(frame.payload);
                if frame.last {
                    let text = checked(message);
                    self.conversation.from_agent(&text);
                    return Ok(Some(text));
                }
                self.fragments = Some(message);
            }
            other => panic!("the agent sends text frames only, not {other}"),
        }
        Ok(None)
    }

    /// The text of the next message.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        match self.try_next(PATIENCE) {
            Ok(text) => text,
            Err(end) => panic!("no message: {end:?}"),
        }
    }

    #[track_caller]
    pub fn next_message(&mut self) -> Value {
        serde_json::from_str(&self.next_text()).expect("checked when it was read")
    }

    /// Sends one text and returns the message that comes next.
    #[track_caller]
    pub fn exchange(&mut self, text: impl AsRef<[u8]>) -> Response {
        self.send_text(text);
        Response::parse(&self.next_text())
    }

    /// Sends a request and waits for its response; whatever else comes is kept for `next_message`.
    #[track_caller]
    pub fn request(&mut self, id: impl Into<Value>, method: &str, params: Value) -> Response {
        let id = id.into();
        self.send_request(id.clone(), method, params);
        self.response_to(id, PATIENCE)
    }

    /// The same with params that are broken on purpose.
    #[track_caller]
    pub fn broken_request(
        &mut self,
        id: impl Into<Value>,
        method: &str,
        params: Value,
    ) -> Response {
        let id = id.into();
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_text(request.to_string());
        self.response_to(id, PATIENCE)
    }

    /// The response to a request that was sent; whatever else comes is kept for `next_message`.
    #[track_caller]
    pub fn response_to(&mut self, id: impl Into<Value>, within: Duration) -> Response {
        let id: Value = id.into();
        let answers = |text: &String| {
            let message: Value = serde_json::from_str(text).expect("checked when it was read");
            message.get("method").is_none() && message["id"] == id
        };
        if let Some(at) = self.inbox.iter().position(answers) {
            return Response::parse(&self.inbox.remove(at).expect("just found"));
        }
        let deadline = Instant::now() + within;
        loop {
            match self.read_message(deadline) {
                Ok(text) if answers(&text) => return Response::parse(&text),
                Ok(text) => self.inbox.push_back(text),
                Err(end) => panic!("no response to {id}: {end:?}"),
            }
        }
    }

    /// The next message is a notification of this method; its params.
    #[track_caller]
    pub fn next_notification(&mut self, method: &str) -> Value {
        let mut message = self.next_message();
        assert_eq!(message["method"], method, "{message}");
        assert!(message.get("id").is_none(), "{message}");
        message["params"].take()
    }

    /// Reads the first message of the session; its params.
    #[track_caller]
    pub fn read_register(&mut self) -> Value {
        let text = self.next_text();
        self.take_register(&text)
    }

    /// The same; nothing where the agent ends before it has sent its `register`.
    #[track_caller]
    pub fn try_read_register(&mut self) -> Option<Value> {
        match self.try_next(PATIENCE) {
            Ok(text) => Some(self.take_register(&text)),
            Err(End::Closed(_) | End::Lost(Lost::EndOfFile | Lost::Broken(_))) => None,
            Err(end) => panic!("no message: {end:?}"),
        }
    }

    #[track_caller]
    fn take_register(&mut self, text: &str) -> Value {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Register {
            jsonrpc: String,
            id: Box<RawValue>,
            method: String,
            params: Value,
        }
        let register: Register = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("no register: {text:?}: {error}"));
        assert_eq!((&*register.jsonrpc, &*register.method), ("2.0", "register"), "{text}");
        assert!(!register.id.get().starts_with(['n', '{', '[', 't', 'f']), "{text}");
        self.register_id = Some(register.id);
        register.params
    }

    pub fn acknowledge(&mut self) {
        self.answer_register(r#""result":{"ok":true}"#);
    }

    #[track_caller]
    pub fn answer_register(&mut self, outcome: &str) {
        let answer = self.register_answer(outcome);
        self.send_checked(&answer);
    }

    /// The same with an outcome that is broken on purpose.
    pub fn send_broken_answer(&mut self, outcome: &str) {
        let answer = self.register_answer(outcome);
        self.send_text(answer);
    }

    fn register_answer(&self, outcome: &str) -> String {
        let id = self.register_id.as_ref().expect("register was read");
        format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#)
    }

    /// Nothing that was sent before is answered, and the session serves on.
    #[track_caller]
    pub fn assert_quiet(&mut self) {
        self.next_id += 1;
        let id = self.next_id;
        self.send_request(id, "vmkit_test_no_such_method", Value::Null);
        let message = self.next_message();
        assert_eq!(
            (&message["id"], &message["error"]["code"]),
            (&json!(id), &json!(-32601)),
            "{message}"
        );
    }

    /// How long the agent took to answer a ping with this payload.
    #[track_caller]
    pub fn ping(&mut self, payload: &[u8]) -> Duration {
        let started = Instant::now();
        self.send(&Frame::new(opcode::PING, payload));
        let pong = self.next_pong(PATIENCE);
        assert_eq!(pong.payload, payload);
        pong.at - started
    }

    #[track_caller]
    pub fn next_pong(&mut self, within: Duration) -> Frame {
        let deadline = Instant::now() + within;
        loop {
            if let Some(pong) = self.pongs.pop_front() {
                return pong;
            }
            match self.read_frame(deadline) {
                Ok(text) => self.inbox.extend(text),
                Err(end) => panic!("no pong: {end:?}"),
            }
        }
    }

    // Ending.

    /// The code of the close frame that the agent sends next, other messages passed over.
    #[track_caller]
    pub fn expect_close(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read_message(deadline) {
                Ok(_) => {}
                Err(End::Closed(code)) => return code,
                Err(End::Lost(lost)) => panic!("no close frame: {lost:?}"),
            }
        }
    }

    /// Until the agent has ended the connection, with or without a close frame.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<(), Lost> {
        self.stream.wait_for_end(Instant::now() + within)
    }
}
