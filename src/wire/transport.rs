//! The byte stream under a session: a TCP socket, with TLS or without, that reads like a blocking
//! one with a timeout.
//!
//! A read that finds nothing sleeps in the [`Waiter`]. It returns `WouldBlock` once anything but the
//! socket has ended the sleep, the deadline included. Writes never wait: bytes that the socket does
//! not take at once stay with the writer, and [`Transport::expect_room`] makes the next sleep end
//! when there is room again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use rustls::{ClientConnection, ProtocolVersion};

use super::no_certificate::NoCertificate;
use super::tls::Failed;
use crate::run::wait::{Interest, Waiter};

/// What a session reads from and writes to.
pub enum Transport {
    Plain(Wire),
    Tls(Box<Tls>),
}

/// A connected, non-blocking socket, watched by the waiter while it lives.
pub struct Wire {
    socket: TcpStream,
    waiter: Rc<Waiter>,
    interest: Interest,
    /// The session or rustls waits for room to write.
    expects_room: bool,
    /// Bytes read since the loop last had its turn.
    unbroken: usize,
}

/// After about this many bytes from a peer that never pauses, the loop has its turn.
const TURN: usize = 64 * 1024;

/// rustls over a [`Wire`].
///
/// Not `rustls::StreamOwned`, which neither reads nor sleeps while bytes wait to be written: a peer
/// that reads slowly would go unheard, and the loop would never rest.
pub struct Tls {
    wire: Wire,
    connection: ClientConnection,
    /// What is wrong with a record, while the bytes before it are handed on.
    failed: Option<io::Error>,
    certificate: Arc<NoCertificate>,
}

impl Transport {
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.wire().socket.local_addr()
    }

    /// Whether the other side wanted a client certificate.
    pub fn wanted_certificate(&self) -> bool {
        matches!(self, Transport::Tls(tls) if tls.certificate.was_wanted())
    }

    /// Whether the sleeps of later reads also end when the socket takes bytes again.
    pub fn expect_room(&mut self, expected: bool) {
        self.wire_mut().expects_room = expected;
    }

    /// Sleeps as a read would, but leaves what arrives unread.
    pub fn rest_unread(&mut self) -> io::Result<()> {
        self.wire_mut().rest(Interest::Write).map(drop)
    }

    fn wire(&self) -> &Wire {
        match self {
            Transport::Plain(wire) => wire,
            Transport::Tls(tls) => &tls.wire,
        }
    }

    fn wire_mut(&mut self) -> &mut Wire {
        match self {
            Transport::Plain(wire) => wire,
            Transport::Tls(tls) => &mut tls.wire,
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(wire) => wire.read(buffer),
            Transport::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(wire) => wire.write(bytes),
            Transport::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(_) => Ok(()),
            Transport::Tls(tls) => tls.push(),
        }
    }
}

impl Wire {
    /// Takes over a socket that the waiter watches already, with `interest`.
    pub fn new(socket: TcpStream, waiter: Rc<Waiter>, interest: Interest) -> Wire {
        Wire { socket, waiter, interest, expects_room: false, unbroken: 0 }
    }

    /// Sleeps. True if the socket has ended the sleep, and no signal asks the program to end.
    fn rest(&mut self, interest: Interest) -> io::Result<bool> {
        if self.interest != interest {
            self.waiter.change_socket(&self.socket, interest)?;
            self.interest = interest;
        }
        let woken = self.waiter.wait()?;
        Ok(woken.socket && !woken.stop)
    }

    fn read_or_rest(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let blocked = match self.socket.read(buffer).map_err(interrupted_is_would_block) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => error,
            done => return done,
        };
        let interest = if self.expects_room { Interest::Both } else { Interest::Read };
        if self.rest(interest)? {
            self.socket.read(buffer).map_err(interrupted_is_would_block)
        } else {
            Err(blocked)
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unbroken >= TURN {
            self.unbroken = 0;
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.read_or_rest(buffer);
        self.unbroken += read.as_ref().map_or(0, |&count| count);
        read
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes).map_err(interrupted_is_would_block)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    /// `certificate` is what `connection` shows to a server that wants a client certificate.
    pub fn new(
        wire: Wire,
        mut connection: ClientConnection,
        certificate: Arc<NoCertificate>,
    ) -> Tls {
        // rustls's own limit makes a write that does not fit return 0, which tungstenite takes
        // for a lost connection; the session bounds what it hands down instead.
        connection.set_buffer_limit(None);
        Tls { wire, connection, failed: None, certificate }
    }

    /// The protocol's version, once the handshake is complete.
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        }
    }

    /// One step of the handshake; true once it is complete.
    ///
    /// # Errors
    /// `WouldBlock` after a sleep that the socket did not end; [`Failed`] inside when the peer
    /// can't be trusted, or refuses.
    pub fn shake_hands(&mut self) -> io::Result<bool> {
        if self.connection.is_handshaking() {
            self.push_some()?;
            self.wire.expects_room = self.connection.wants_write();
            if self.connection.is_handshaking() && self.pull()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        // Sends the records of the last step, or the alert that says why it failed.
        self.push_some()?;
        Ok(!self.connection.is_handshaking())
    }

    /// Reads the bytes that the socket has, sleeping once where it has none.
    fn pull(&mut self) -> io::Result<usize> {
        let count = self.connection.read_tls(&mut self.wire)?;
        if let Err(error) = self.connection.process_new_packets() {
            let _ = self.push();
            return Err(Failed(error).into());
        }
        Ok(count)
    }

    /// Writes records until none is left, or the socket takes no more.
    fn push(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.wire)?;
        }
        Ok(())
    }

    /// As [`Tls::push`]; a socket that takes no more is no error.
    fn push_some(&mut self) -> io::Result<()> {
        match self.push() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // Tells the peer that the connection has ended, and was not cut.
        self.connection.send_close_notify();
        let _ = self.push();
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.push_some()?;
            let expects_room = self.wire.expects_room;
            self.wire.expects_room |= self.connection.wants_write();
            let pulled = match self.failed.take() {
                Some(error) => Err(error),
                None => self.pull(),
            };
            self.wire.expects_room = expects_room;
            match pulled {
                Ok(_) => {}
                // What came before the record that failed is handed on first: it may say why.
                Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Failed>()) => {
                    match self.connection.reader().read(buffer) {
                        Ok(count) if count > 0 => {
                            self.failed = Some(error);
                            return Ok(count);
                        }
                        _ => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nothing new is taken while records wait, which keeps rustls's unlimited buffer small.
        self.push()?;
        self.connection.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

/// A signal in the middle of a call says nothing about the socket. `TimedOut` stays an error: on a
/// non-blocking socket it means that the kernel has given the connection up.
fn interrupted_is_would_block(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::Interrupted => ErrorKind::WouldBlock.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A wire, its waiter, and the other end.
    fn wire() -> (Wire, Rc<Waiter>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let waiter = Waiter::new().unwrap();
        waiter.watch_socket(&socket, Interest::Read).unwrap();
        (Wire::new(socket, Rc::clone(&waiter), Interest::Read), waiter, peer)
    }

    #[test]
    fn a_read_sleeps_until_the_deadline_and_no_longer_than_until_bytes_arrive() {
        let (mut wire, waiter, mut peer) = wire();
        let (start, pause) = (Instant::now(), Duration::from_millis(50));
        waiter.set_deadline(Some(start + pause));
        assert_eq!(wire.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= pause);
        peer.write_all(b"abc").unwrap();
        waiter.set_deadline(Some(Instant::now() + SOON));
        assert_eq!(wire.read(&mut [0; 8]).unwrap(), 3);
        assert!(start.elapsed() < SOON);
    }

    #[test]
    fn a_peer_that_never_pauses_leaves_the_loop_its_turn() {
        let (mut wire, waiter, mut peer) = wire();
        waiter.set_deadline(Some(Instant::now() + SOON));
        let mut piece = vec![0; TURN / 4];
        let mut read = 0;
        while read < TURN {
            peer.write_all(&piece).unwrap();
            read += wire.read(&mut piece).unwrap();
        }
        peer.write_all(b"x").unwrap();
        assert_eq!(wire.read(&mut piece).unwrap_err().kind(), ErrorKind::WouldBlock);
        // The next turn goes on.
        assert!(wire.read(&mut piece).unwrap() > 0);
    }

    #[test]
    fn room_to_write_ends_the_sleep_of_a_read_only_where_it_is_expected() {
        let (wire, waiter, _peer) = wire();
        let mut transport = Transport::Plain(wire);
        waiter.set_deadline(Some(Instant::now() + SOON * 10));
        transport.expect_room(true);
        let start = Instant::now();
        assert_eq!(transport.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() < SOON, "the socket has room all the time");
        transport.expect_room(false);
        let end = Instant::now() + Duration::from_millis(50);
        waiter.set_deadline(Some(end));
        assert_eq!(transport.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(Instant::now() >= end, "nothing was expected");
    }

    #[test]
    fn a_signal_is_no_error_and_a_timeout_is() {
        let kind = |kind: ErrorKind| interrupted_is_would_block(kind.into()).kind();
        assert_eq!(kind(ErrorKind::Interrupted), ErrorKind::WouldBlock);
        assert_eq!(kind(ErrorKind::TimedOut), ErrorKind::TimedOut);
    }
}
