//! A gateway that deals with every dial alike, until the test is over.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::support::{Dial, End, Identity, PATIENCE, Peer};

pub struct Gateway {
    pub url: String,
    pub port: u16,
    ended: Arc<AtomicBool>,
    /// How the sessions came to their end: the close code, or what else the doctor sent.
    ends: Arc<Mutex<Vec<String>>>,
    /// The `Authorization` header of each dial.
    tokens: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// A gateway that accepts every agent. Its clock is off by `skew`, in the words of `date`.
    pub fn good(skew: &str) -> Gateway {
        let date = http_date(skew);
        let tokens = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&tokens);
        let mut gateway = Gateway::answering(Peer::plain(), None, move |mut dial, ends| {
            let upgrade = dial.read_upgrade();
            let token = upgrade.header("Authorization").unwrap_or_default().to_owned();
            noted.lock().expect("no test panics with it").push(token);
            let answer = upgrade.switching_protocols();
            let answer = answer.replace("\r\n\r\n", &format!("\r\nDate: {date}\r\n\r\n"));
            dial.stream.write(answer.as_bytes()).expect("the doctor waits for it");
            end_of(dial, ends);
        });
        gateway.tokens = tokens;
        gateway
    }

    /// A gateway that gives every agent this answer.
    pub fn refusing(head: &str) -> Gateway {
        let head = format!("{head}\nDate: {}", http_date("now"));
        Gateway::answering(Peer::plain(), None, move |dial, _| dial.refuse(&head))
    }

    /// A gateway that shows this certificate, and accepts every agent that trusts it.
    pub fn tls(identity: &Identity) -> Gateway {
        let peer = Peer::plain();
        Gateway::answering(peer, Some(identity.clone()), |mut dial, ends| {
            let answer = dial.read_upgrade().switching_protocols();
            dial.stream.write(answer.as_bytes()).expect("the doctor waits for it");
            end_of(dial, ends);
        })
    }

    fn answering(
        peer: Peer,
        identity: Option<Identity>,
        answer: impl Fn(Dial, &Mutex<Vec<String>>) + Send + 'static,
    ) -> Gateway {
        let port = peer.port();
        let scheme = if identity.is_some() { "wss" } else { "ws" };
        let (ended, ends) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (until, noted) = (Arc::clone(&ended), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let Some(dial) = peer.accept_within(Duration::from_millis(20)) else { continue };
                // Whether the doctor likes the certificate is for its report to say.
                let dial = match &identity {
                    Some(identity) => dial.start_tls(identity).ok(),
                    None => Some(dial),
                };
                let Some(dial) = dial.and_then(with_request) else { continue };
                answer(dial, &noted);
            }
        });
        let url = format!("{scheme}://127.0.0.1:{port}/api/daemon");
        Gateway { url, port, ended, ends, tokens: Arc::default(), thread: Some(thread) }
    }

    /// The tokens that it was dialed with, where it takes whoever comes.
    pub fn tokens(&self) -> Vec<String> {
        let headers = self.tokens.lock().expect("no test panics with it").clone();
        headers.iter().map(|header| header.replace("Bearer ", "")).collect()
    }

    pub fn ends(&self) -> Vec<String> {
        self.ends.lock().expect("no test panics with it").clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || thread::panicking(), "the gateway's thread has failed");
    }
}

/// One that was not hung up on: for want of a token, or because the client, which in TLS 1.3 is not
/// waited for, does not like the certificate.
fn with_request(mut dial: Dial) -> Option<Dial> {
    dial.stream.peek(1, Instant::now() + PATIENCE).is_ok().then_some(dial)
}

/// Reads the session that follows to its end.
fn end_of(dial: Dial, ends: &Mutex<Vec<String>>) {
    let mut session = dial.into_session();
    let end = match session.try_next(PATIENCE) {
        Err(End::Closed(code)) => code.to_string(),
        other => format!("{other:?}"),
    };
    ends.lock().expect("no test panics with it").push(end);
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(when: &str) -> String {
    let mut command = Command::new("date");
    command.args(["-u", "-d", when, "+%a, %d %b %Y %T GMT"]).env("LC_ALL", "C");
    let output = command.output().expect("coreutils are there");
    assert!(output.status.success(), "{when}");
    String::from_utf8(output.stdout).expect("ASCII").trim().to_owned()
}
