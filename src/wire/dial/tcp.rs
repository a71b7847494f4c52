//! One TCP connection out of several addresses, which race as RFC 8305 says: each starts a moment
//! after the one before it, or at once where one fails. The first that answers wins.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::attempt::Attempt;
use super::failure::{Cause, Error, Peer, Tcp, Unreached};
use crate::run::wait::Interest;
use crate::wire::transport::Wire;

/// One address may take this long.
pub(super) const EACH: Duration = Duration::from_secs(3);
/// How long an address that has not answered yet has the race for itself.
const HEAD_START: Duration = Duration::from_millis(250);
/// What the kernel holds of what is sent, in bytes. Without a limit it holds some megabytes: over a slow
/// link a pong would wait behind the lines of followed logs for longer than a gateway waits.
const SEND_BUFFER: usize = 192 * 1024;
/// A name with hundreds of addresses gets no more sockets than this.
const AT_ONCE: usize = 8;

/// Connects to the first of `addresses` that answers.
pub(super) fn connect(
    attempt: &Attempt,
    peer: &Peer,
    addresses: &[IpAddr],
) -> Result<(Wire, SocketAddr), Error> {
    let addresses = addresses.iter().map(|address| SocketAddr::new(*address, peer.port));
    let mut race = Race { attempt, addresses, runners: Vec::new(), next_start: Instant::now() };
    while let Some(next) = race.go_on() {
        attempt.until(next);
        if let Err(error) = attempt.waiter.wait() {
            race.stumble(error);
        }
        let over = attempt.woken()?;
        if let Some((socket, address)) = race.winner() {
            return Ok((Wire::new(socket, Rc::clone(attempt.waiter), Interest::Write), address));
        }
        if over {
            break;
        }
    }
    let tried = race.runners.into_iter().map(|runner| (runner.address, runner.why)).collect();
    Err(Cause::Tcp { peer: peer.clone(), why: Tcp::Tried(tried) }.into())
}

struct Race<'a, Addresses> {
    attempt: &'a Attempt<'a>,
    /// The addresses that have not started yet.
    addresses: Addresses,
    /// In the order of their start.
    runners: Vec<Runner>,
    next_start: Instant,
}

struct Runner {
    address: SocketAddr,
    /// When this address has had its time.
    end: Instant,
    /// None: the address is out of the race.
    socket: Option<TcpStream>,
    /// Why it is out, or would be if the dial ended now.
    why: Unreached,
}

impl<Addresses: Iterator<Item = SocketAddr>> Race<'_, Addresses> {
    /// Starts what is due, and says when to look again; never, once every address has failed.
    fn go_on(&mut self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let ends = self.runners.iter().filter(|runner| runner.socket.is_some());
            let (count, first_end) = (ends.clone().count(), ends.map(|runner| runner.end).min());
            if count == AT_ONCE {
                return first_end;
            }
            if count > 0 && now < self.next_start {
                return first_end.map(|end| end.min(self.next_start));
            }
            let Some(address) = self.addresses.next() else { return first_end };
            let mut runner =
                Runner { address, end: now + EACH, socket: None, why: Unreached::OutOfTime };
            match self.start(address) {
                Ok(socket) => {
                    runner.socket = Some(socket);
                    self.next_start = now + HEAD_START;
                }
                Err(error) => runner.why = Unreached::Error(error),
            }
            self.runners.push(runner);
        }
    }

    /// A socket that connects. The waiter watches it for the outcome.
    fn start(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let socket = TcpStream::from(socket);
        // Without this option the TLS handshake and small replies wait for delayed acknowledgements.
        socket.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        is_connected(&socket, address)?;
        self.attempt.waiter.watch_socket(&socket, Interest::Write)?;
        Ok(socket)
    }

    /// The first that has connected. Takes out of the race what has failed since the last look.
    fn winner(&mut self) -> Option<(TcpStream, SocketAddr)> {
        let now = Instant::now();
        for runner in &mut self.runners {
            let Some(socket) = &runner.socket else { continue };
            runner.why = match is_connected(socket, runner.address) {
                Ok(true) => return Some((runner.socket.take()?, runner.address)),
                Ok(false) if now < runner.end => continue,
                Ok(false) => Unreached::Silent,
                Err(error) => Unreached::Error(error),
            };
            runner.socket = None;
            self.next_start = now;
        }
        None
    }

    /// The wait itself has failed. The first address under way bears it, so that the race ends.
    fn stumble(&mut self, error: io::Error) {
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.socket.is_some()) {
            runner.socket = None;
            runner.why = Unreached::Error(error);
        }
    }
}

/// Starts to connect. Called again, it says what has become of it.
fn is_connected(socket: &TcpStream, address: SocketAddr) -> io::Result<bool> {
    match rustix::net::connect(socket, &address) {
        Ok(()) | Err(Errno::ISCONN) => Ok(true),
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
