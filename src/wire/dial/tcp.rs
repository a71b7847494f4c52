//! One TCP connection out of several addresses, which are tried one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::attempt::Attempt;
use super::failure::{Cause, Error, Peer, Tcp};
use crate::run::wait::Interest;
use crate::wire::transport::Wire;

/// One address may take this long.
pub(super) const EACH: Duration = Duration::from_secs(3);

/// Connects to the first of `addresses` that answers.
pub(super) fn connect(
    attempt: &Attempt,
    peer: &Peer,
    addresses: &[IpAddr],
) -> Result<(Wire, SocketAddr), Error> {
    let mut tried = Vec::new();
    for &address in addresses {
        let address = SocketAddr::new(address, peer.port);
        match connect_one(attempt, address)? {
            Ok(wire) => return Ok((wire, address)),
            Err(error) => tried.push((address, error)),
        }
        if Instant::now() >= attempt.deadline {
            break;
        }
    }
    Err(Cause::Tcp { peer: peer.clone(), why: Tcp::Tried(tried) }.into())
}

/// Connects to one address. A failure of this address alone is the inner error: none if there was
/// no answer in time.
fn connect_one(
    attempt: &Attempt,
    address: SocketAddr,
) -> Result<Result<Wire, Option<io::Error>>, Error> {
    let socket = match start(attempt, address) {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(Some(error))),
    };
    let end = Instant::now() + EACH;
    attempt.until(end);
    loop {
        let woken = match attempt.waiter.wait() {
            Ok(woken) => woken,
            Err(error) => return Ok(Err(Some(error))),
        };
        let over = attempt.woken()? || Instant::now() >= end;
        if woken.socket {
            return Ok(finish(attempt, socket).map_err(Some));
        }
        if over {
            return Ok(Err(None));
        }
    }
}

/// Starts to connect. The waiter watches the socket for the outcome.
fn start(attempt: &Attempt, address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    attempt.waiter.watch_socket(&socket, Interest::Write)?;
    Ok(socket.into())
}

fn finish(attempt: &Attempt, socket: TcpStream) -> io::Result<Wire> {
    sockopt::socket_error(&socket)??;
    // Without this option the TLS handshake and small replies wait for delayed acknowledgements.
    socket.set_nodelay(true)?;
    Ok(Wire::new(socket, Rc::clone(attempt.waiter), Interest::Write))
}
