//! The gateway's side of a dial: listens, accepts, reads the upgrade request, answers it as a test likes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use sha1::{Digest, Sha1};

use super::{
    PATIENCE,
    session::Session,
    stream::{Lost, Stream},
    tls::Identity,
};

pub struct Peer {
    listener: TcpListener,
    identity: Option<Identity>,
}

/// A connection that the agent has opened, on its way to a session.
pub struct Dial {
    pub stream: Stream,
    pub remote: SocketAddr,
    pub at: Instant,
}

/// The head of an HTTP request: the agent's upgrade, or its CONNECT to a proxy.
#[derive(Clone, Debug)]
pub struct Upgrade {
    pub request_line: String,
    pub headers: Vec<(String, String)>,
}

impl Peer {
    pub fn plain() -> Peer {
        Peer::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports"))
    }

    pub fn tls(identity: &Identity) -> Peer {
        Peer::plain().with_identity(identity)
    }

    pub fn on(listener: TcpListener) -> Peer {
        Peer { listener, identity: None }
    }

    /// The same peer, speaking TLS.
    pub fn with_identity(self, identity: &Identity) -> Peer {
        Peer { identity: Some(identity.clone()), ..self }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("it is bound").port()
    }

    pub fn url(&self) -> String {
        self.url_for("127.0.0.1")
    }

    pub fn url_for(&self, host: &str) -> String {
        let scheme = if self.identity.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{host}:{}/api/daemon", self.port())
    }

    /// The next connection, before any byte of TLS or HTTP; `None` where there is none by then.
    pub fn accept_within(&self, within: Duration) -> Option<Dial> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("short enough");
            match poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return None,
                Err(rustix::io::Errno::INTR) => continue,
                ready => drop(ready.expect("a listener can be polled")),
            }
            let (socket, remote) = self.listener.accept().expect("it is ready");
            return Some(Dial::new(socket, remote));
        }
    }

    pub fn accept_tcp(&self) -> Dial {
        self.accept_within(PATIENCE)
            .unwrap_or_else(|| panic!("the agent did not dial within {PATIENCE:?}"))
    }

    /// The next connection, with TLS up where this peer speaks it.
    pub fn accept(&self) -> Dial {
        let dial = self.accept_tcp();
        match &self.identity {
            Some(identity) => dial.start_tls(identity).expect("a handshake"),
            None => dial,
        }
    }

    /// The next session, before its `register` has been read.
    pub fn accept_upgraded(&self) -> Session {
        self.accept().switch()
    }

    /// Without TLS: the next session whose agent lives to send its `register`, and its params. What
    /// an agent has dialed that was ended since stands first in the queue, and is passed over.
    pub fn accept_register(&self, within: Duration) -> Option<(Session, Value)> {
        let deadline = Instant::now() + within;
        loop {
            let mut dial =
                self.accept_within(deadline.saturating_duration_since(Instant::now()))?;
            if dial.stream.peek(1, Instant::now() + PATIENCE).is_err() {
                continue;
            }
            let mut session = dial.switch();
            if let Some(register) = session.try_read_register() {
                return Some((session, register));
            }
        }
    }

    /// The next session, its `register` acknowledged.
    pub fn accept_registered(&self) -> Session {
        let mut session = self.accept_upgraded();
        session.read_register();
        session.acknowledge();
        session
    }
}

impl Dial {
    fn new(socket: TcpStream, remote: SocketAddr) -> Dial {
        Dial { stream: Stream::plain(socket), remote, at: Instant::now() }
    }

    pub fn start_tls(self, identity: &Identity) -> io::Result<Dial> {
        Ok(Dial { stream: self.stream.start_tls(identity.config.clone())?, ..self })
    }

    pub fn read_upgrade(&mut self) -> Upgrade {
        let deadline = Instant::now() + PATIENCE;
        let head = match self.stream.take_until(b"\r\n\r\n", deadline) {
            Ok(head) => String::from_utf8(head).expect("an ASCII request"),
            Err(lost) => panic!("no HTTP request: {lost:?}"),
        };
        let mut lines = head.trim_end().split("\r\n");
        let request_line = lines.next().expect("split yields one").to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_owned(), value.trim().to_owned())
        });
        Upgrade { request_line, headers: headers.collect() }
    }

    /// Writes an HTTP response: `head` is the status and headers, without the version.
    pub fn respond(&mut self, head: &str) {
        let head = head.trim_end().replace('\n', "\r\n");
        let _ = self.stream.write(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
    }

    /// Reads the request, gives this response, and closes.
    pub fn refuse(mut self, head: &str) {
        self.read_upgrade();
        self.respond(&format!("{head}\nContent-Length: 0\nConnection: close"));
        let _ = self.wait_for_end(PATIENCE);
    }

    /// Answers 101 and hands over the session.
    pub fn switch(self) -> Session {
        self.switch_with(b"")
    }

    /// The same, with `more` in the segment of the response.
    pub fn switch_with(mut self, more: &[u8]) -> Session {
        let upgrade = self.read_upgrade();
        let mut answer = upgrade.switching_protocols().into_bytes();
        answer.extend(more);
        self.stream.write(&answer).expect("the agent waits for the response");
        Session::new(self.stream, upgrade)
    }

    /// The session that a test's own answer has begun.
    pub fn into_session(self) -> Session {
        Session::new(self.stream, Upgrade { request_line: String::new(), headers: Vec::new() })
    }

    /// Until the agent has closed the connection.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<(), Lost> {
        self.stream.wait_for_end(Instant::now() + within)
    }
}

impl Upgrade {
    /// The value of the only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value.map(|(_, value)| value.as_str())
    }

    /// The response to this upgrade, byte for byte.
    pub fn switching_protocols(&self) -> String {
        let key = self.header("Sec-WebSocket-Key").expect("an upgrade has a key");
        let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        let accept = data_encoding::BASE64.encode(&digest);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }
}
