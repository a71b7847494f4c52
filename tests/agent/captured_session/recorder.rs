//! Plays the gateway, and puts down what both sides say.

use serde_json::Value;

use crate::support::{Frame, Session};

/// What one side has sent.
pub struct Entry {
    pub scene: &'static str,
    pub from: &'static str,
    pub sent: Sent,
}

pub enum Sent {
    /// The head of the upgrade request or of its answer, a line each.
    Http(Vec<String>),
    Text(String),
    /// A close frame with this code.
    Close(u16),
}

#[derive(Default)]
pub struct Recorder {
    pub entries: Vec<Entry>,
    scene: &'static str,
    session: Option<Session>,
}

impl Recorder {
    /// What follows belongs to this scene.
    pub fn scene(&mut self, name: &'static str) {
        self.scene = name;
    }

    /// The session begins, with the two heads that came before.
    pub fn open(&mut self, session: Session) {
        let upgrade = &session.upgrade;
        let headers = upgrade.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let request = [upgrade.request_line.clone()].into_iter().chain(headers).collect();
        let answer = upgrade.switching_protocols();
        self.note("agent", Sent::Http(request));
        self.note("gateway", Sent::Http(answer.trim_end().lines().map(str::to_owned).collect()));
        self.session = Some(session);
    }

    /// The agent has come back; its `register`.
    pub fn reopen(&mut self, session: Session) -> Value {
        self.session = Some(session);
        self.hear()
    }

    pub fn ask(&mut self, id: &str, method: &str, params: &str) {
        let params = if params.is_empty() { "" } else { &format!(r#","params":{params}"#) };
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{params}}}"#);
        self.session().send_checked(&text);
        self.note("gateway", Sent::Text(text));
    }

    /// Sends a text that is broken on purpose.
    pub fn ask_wrongly(&mut self, text: &str) {
        self.session().send_text(text);
        self.note("gateway", Sent::Text(text.to_owned()));
    }

    /// Answers a request of the agent.
    pub fn answer(&mut self, request: &Value, result: &str) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, request["id"]);
        self.session().send_checked(&text);
        self.note("gateway", Sent::Text(text));
    }

    /// The next message of the agent.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        let text = self.session().next_text();
        let message = serde_json::from_str(&text).expect("checked when it was read");
        self.note("agent", Sent::Text(text.trim_end().to_owned()));
        message
    }

    #[track_caller]
    pub fn hear_result(&mut self) {
        let message = self.hear();
        assert!(message.get("result").is_some(), "{message}");
    }

    #[track_caller]
    pub fn hear_error(&mut self) {
        let message = self.hear();
        assert!(message.get("error").is_some(), "{message}");
    }

    /// The agent closes the session, and the gateway answers.
    pub fn hear_close(&mut self) {
        let code = self.session().expect_close();
        self.note("agent", Sent::Close(code));
        self.session().send(&Frame::close(code));
        self.note("gateway", Sent::Close(code));
        self.session = None;
    }

    /// The gateway closes the session, and the agent answers.
    pub fn close(&mut self) {
        self.session().send(&Frame::close(1001));
        self.note("gateway", Sent::Close(1001));
        let code = self.session().expect_close();
        self.note("agent", Sent::Close(code));
        self.session = None;
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("the session is open")
    }

    fn note(&mut self, from: &'static str, sent: Sent) {
        self.entries.push(Entry { scene: self.scene, from, sent });
    }
}
