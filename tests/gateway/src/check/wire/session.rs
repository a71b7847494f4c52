//! A session: a task reads whatever comes and writes it down, and a check looks at what is written
//! down, or waits for more. So nothing is missed while a check does something else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dial::{Request, Stream};
use super::frame::{self, Frame, whole};
use super::message::Message;
use super::trace::{From, Trace};

/// All that a session has brought so far.
#[derive(Default)]
pub struct Log {
    pub frames: Vec<(Instant, Frame)>,
    pub messages: Vec<Message>,
    /// When the connection ended, and how.
    pub end: Option<(Instant, String)>,
    partial: Vec<u8>,
    /// Bytes of all frames.
    held: usize,
}

/// Bytes of a frame that are kept beside its message.
const SHOWN: usize = 100;
/// Bytes that a session may bring. What a check asks for is a tenth of it.
const HELD: usize = 512 * 1024 * 1024;

impl Log {
    /// The agent's close frame: its code, and when and where among the frames it came.
    pub fn close(&self) -> Option<(u16, Instant, usize)> {
        let found = self.frames.iter().enumerate().find(|(_, (_, f))| f.opcode == frame::CLOSE);
        found.map(|(place, (at, frame))| (frame.close().0, *at, place))
    }

    pub fn pings(&self) -> Vec<Instant> {
        let pings = self.frames.iter().filter(|(_, frame)| frame.opcode == frame::PING);
        pings.map(|(at, _)| *at).collect()
    }

    /// A message is kept whole; of its frames only the beginning, which is to be shown.
    fn add(&mut self, at: Instant, mut frame: Frame) {
        self.held += frame.length;
        if frame.is_control() {
            self.frames.push((at, frame));
            return;
        }
        self.partial.extend(&frame.payload);
        frame.payload.truncate(SHOWN);
        self.frames.push((at, frame.clone()));
        if frame.fin {
            let bytes = std::mem::take(&mut self.partial);
            self.messages.push(Message::new(at, bytes, self.frames.len() - 1));
        }
    }
}

/// What the kit does by itself. A check turns it off to see what the agent does then.
#[derive(Clone, Copy)]
pub enum Habit {
    Read,
    Pong,
    Close,
}

struct Inner {
    request: Request,
    number: u32,
    began: Instant,
    trace: Trace,
    log: Mutex<Log>,
    changed: watch::Sender<u64>,
    writer: tokio::sync::Mutex<WriteHalf<Box<dyn Stream>>>,
    habits: [AtomicBool; 3],
    /// When the kit sent its close frame.
    closed: Mutex<Option<Instant>>,
    ids: AtomicU64,
    reader: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
pub struct Session(Arc<Inner>);

impl Session {
    pub fn start(stream: Box<dyn Stream>, request: Request, number: u32, trace: Trace) -> Session {
        let (read, write) = split(stream);
        let session = Session(Arc::new(Inner {
            request,
            number,
            began: Instant::now(),
            trace,
            log: Mutex::default(),
            changed: watch::channel(0).0,
            writer: tokio::sync::Mutex::new(write),
            habits: [const { AtomicBool::new(true) }; 3],
            closed: Mutex::default(),
            ids: AtomicU64::new(1),
            reader: Mutex::default(),
        }));
        let reader = tokio::spawn(session.clone().read(read));
        *session.0.reader.lock() = Some(reader);
        session
    }

    pub fn request(&self) -> &Request {
        &self.0.request
    }

    pub fn began(&self) -> Instant {
        self.0.began
    }

    pub fn set(&self, habit: Habit, on: bool) {
        self.0.habits[habit as usize].store(on, Ordering::Relaxed);
    }

    /// Looks at what has come.
    pub fn see<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.0.log.lock())
    }

    /// Whether both sides may still send.
    pub fn is_open(&self) -> bool {
        let is_open = self.see(|log| log.end.is_none() && log.close().is_none());
        is_open && self.0.closed.lock().is_none()
    }

    /// How many messages there are: where to look for the next.
    pub fn mark(&self) -> usize {
        self.see(|log| log.messages.len())
    }

    /// Waits until `look` finds something; `None` where it did not in time.
    pub async fn wait<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&Log) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.0.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = self.see(&mut look) {
                    return found;
                }
                // The session holds the sender, so this is no error.
                let _ = changed.changed().await;
            }
        };
        timeout(within, waiting).await.ok()
    }

    /// The first message from `mark` on that is so. The end of the session ends the wait.
    pub async fn message(
        &self,
        mark: usize,
        within: Duration,
        mut so: impl FnMut(&Message) -> bool,
    ) -> Option<Message> {
        let found = self.wait(within, |log| {
            let later = log.messages.get(mark..).unwrap_or_default();
            match later.iter().find(|message| so(message)) {
                Some(message) => Some(Some(message.clone())),
                None => log.end.is_some().then_some(None),
            }
        });
        found.await.flatten()
    }

    /// The response to the request with this `id`, as its JSON was written.
    pub async fn response(&self, id: &str, within: Duration) -> Option<Message> {
        self.message(0, within, |m| m.is_response() && m.id.as_deref() == Some(id)).await
    }

    /// Waits for the agent's close frame, or for the end without any; its code.
    pub async fn closed(&self, within: Duration) -> Option<u16> {
        let end = |log: &Log| match log.close() {
            Some((code, ..)) => Some(Some(code)),
            None => log.end.is_some().then_some(None),
        };
        self.wait(within, end).await.flatten()
    }

    pub async fn ended(&self, within: Duration) -> Option<Instant> {
        self.wait(within, |log| log.end.as_ref().map(|(at, _)| *at)).await
    }

    /// A new id, as JSON.
    pub fn next_id(&self) -> String {
        format!("\"k{}\"", self.0.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a request; its id.
    pub async fn send_request(&self, method: &str, params: Value) -> String {
        let id = self.next_id();
        self.request_as(&id, method, &params.to_string()).await;
        id
    }

    /// The same with this id and these params, both as JSON.
    pub async fn request_as(&self, id: &str, method: &str, params: &str) {
        let method = json!(method);
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#);
        self.text(&text).await;
    }

    /// Sends a request without an id.
    pub async fn notify(&self, method: &str, params: Value) {
        self.text(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()).await;
    }

    pub async fn text(&self, text: &str) {
        self.send(whole(frame::TEXT), text.as_bytes()).await;
    }

    /// A close frame; the kit sends nothing of its own after it.
    pub async fn close(&self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        *self.0.closed.lock() = Some(Instant::now());
        self.send(whole(frame::CLOSE), &payload).await;
    }

    /// Sends one frame. What can't be sent shows in what comes back.
    pub async fn send(&self, first: u8, payload: &[u8]) {
        let frame = Frame {
            fin: first & 0x80 != 0,
            reserved: 0,
            opcode: first & 15,
            masked: false,
            shortest: true,
            payload: payload.to_vec(),
            length: payload.len(),
        };
        self.0.trace.frame(From::Kit, self.0.number, &frame);
        self.bytes(&frame::encode(first, payload)).await;
    }

    /// Sends bytes that need be no frame.
    pub async fn bytes(&self, bytes: &[u8]) {
        let mut writer = self.0.writer.lock().await;
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
    }

    /// Ends the connection at once, without a close frame.
    pub fn drop_connection(&self) {
        if let Some(reader) = self.0.reader.lock().take() {
            reader.abort();
        }
        self.finish("the kit ends the connection");
        let session = self.clone();
        tokio::spawn(async move { session.0.writer.lock().await.shutdown().await });
    }

    async fn read(self, mut stream: ReadHalf<Box<dyn Stream>>) {
        let how = loop {
            while !self.0.habits[Habit::Read as usize].load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if self.see(|log| log.held > HELD) {
                break "sends more than the kit can hold".to_owned();
            }
            match frame::read(&mut stream).await {
                Ok(Some(frame)) => self.take(frame).await,
                Ok(None) => break "ends the connection".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::Other => {
                    let _ = stream.read(&mut [0]).await;
                    break format!("sends no frame: {error}");
                }
                Err(error) => break format!("ends the connection: {error}"),
            }
        };
        self.finish(&how);
        // The other half: so the agent sees the end of the connection too.
        let _ = self.0.writer.lock().await.shutdown().await;
    }

    fn finish(&self, how: &str) {
        let mut log = self.0.log.lock();
        if log.end.is_none() {
            self.0.trace.note(From::Agent, self.0.number, how);
            log.end = Some((Instant::now(), how.to_owned()));
        }
        drop(log);
        self.0.changed.send_modify(|count| *count += 1);
    }

    async fn take(&self, frame: Frame) {
        self.0.trace.frame(From::Agent, self.0.number, &frame);
        let opcode = frame.opcode;
        let payload = if frame.is_control() { frame.payload.clone() } else { Vec::new() };
        self.0.log.lock().add(Instant::now(), frame);
        self.0.changed.send_modify(|count| *count += 1);
        let has = |habit: Habit| self.0.habits[habit as usize].load(Ordering::Relaxed);
        match opcode {
            // A peer that does not read must not keep the kit from reading.
            frame::PING if has(Habit::Pong) => {
                let session = self.clone();
                tokio::spawn(async move {
                    session.send(whole(frame::PONG), &payload).await;
                });
            }
            frame::CLOSE if has(Habit::Close) && self.0.closed.lock().is_none() => {
                let code = self.see(|log| log.close()).map_or(1000, |(code, ..)| code);
                self.close(code, "").await;
            }
            _ => {}
        }
    }
}
