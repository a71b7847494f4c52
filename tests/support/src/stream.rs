//! One TCP connection from the agent, plain or under TLS, read with deadlines and written at any pace.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::PATIENCE;

/// Why there was nothing more to read.
#[derive(Debug)]
pub enum Lost {
    Deadline,
    EndOfFile,
    Broken(io::Error),
}

pub struct Stream {
    kind: Kind,
    unread: Vec<u8>,
}

enum Kind {
    Plain(Wire),
    Tls(Box<StreamOwned<ServerConnection, Wire>>),
}

/// The socket; with a `drip` each byte is written by itself, after that pause.
struct Wire {
    socket: TcpStream,
    drip: Option<Duration>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.drip {
            Some(pause) if !bytes.is_empty() => {
                thread::sleep(pause);
                self.socket.write(&bytes[..1])
            }
            _ => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    pub fn plain(socket: TcpStream) -> Stream {
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Stream { kind: Kind::Plain(Wire { socket, drip: None }), unread: Vec::new() }
    }

    /// Shakes hands as the server; what the agent makes of the certificate is in the error.
    pub fn start_tls(self, config: Arc<ServerConfig>) -> io::Result<Stream> {
        assert!(self.unread.is_empty(), "the agent spoke before TLS began");
        let Kind::Plain(mut wire) = self.kind else { panic!("TLS within TLS") };
        let mut tls = ServerConnection::new(config).expect("a valid configuration");
        wire.socket.set_read_timeout(Some(PATIENCE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut wire)?;
        }
        Ok(Stream { kind: Kind::Tls(Box::new(StreamOwned::new(tls, wire))), unread: Vec::new() })
    }

    pub fn drip(&mut self, pause: Option<Duration>) {
        self.wire().drip = pause;
    }

    pub fn socket(&mut self) -> &TcpStream {
        &self.wire().socket
    }

    fn wire(&mut self) -> &mut Wire {
        match &mut self.kind {
            Kind::Plain(wire) => wire,
            Kind::Tls(tls) => &mut tls.sock,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Plain(wire) => wire.write_all(bytes),
            Kind::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// At least `count` bytes, left where they are: what is not whole yet stays unread.
    pub fn peek(&mut self, count: usize, deadline: Instant) -> Result<&[u8], Lost> {
        while self.unread.len() < count {
            self.fill(deadline)?;
        }
        Ok(&self.unread)
    }

    pub fn consume(&mut self, count: usize) {
        self.unread.drain(..count);
    }

    /// Everything up to and with the first `end`.
    pub fn take_until(&mut self, end: &[u8], deadline: Instant) -> Result<Vec<u8>, Lost> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|part| part == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.fill(deadline)?;
        }
    }

    /// Reads and forgets until the agent has closed the connection.
    pub fn wait_for_end(&mut self, deadline: Instant) -> Result<(), Lost> {
        loop {
            self.unread.clear();
            match self.fill(deadline) {
                Ok(()) => {}
                Err(Lost::EndOfFile | Lost::Broken(_)) => return Ok(()),
                Err(lost) => return Err(lost),
            }
        }
    }

    /// Waits for at least one more byte.
    pub fn fill(&mut self, deadline: Instant) -> Result<(), Lost> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A byte that is there already is had even when the deadline has just passed.
            let timeout = left.max(Duration::from_millis(1));
            self.socket().set_read_timeout(Some(timeout)).map_err(Lost::Broken)?;
            let read = match &mut self.kind {
                Kind::Plain(wire) => wire.read(&mut chunk),
                Kind::Tls(tls) => tls.read(&mut chunk),
            };
            match read {
                Ok(0) => return Err(Lost::EndOfFile),
                Ok(count) => {
                    self.unread.extend_from_slice(&chunk[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if left.is_zero() {
                        return Err(Lost::Deadline);
                    }
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Lost::EndOfFile);
                }
                Err(error) => return Err(Lost::Broken(error)),
            }
        }
    }
}
