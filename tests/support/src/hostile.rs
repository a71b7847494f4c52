//! Hostile surroundings: a name server that a test answers for, an address that never answers a SYN,
//! a socket that carries little at a time.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// A name server's socket, at an address of its own, and the `resolv.conf` that names it.
///
/// Port 53 takes root; the address, which no real server has, keeps it apart from other test runs.
pub fn name_server() -> (UdpSocket, String) {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (process::id() as u16).to_be_bytes();
    let address = format!("127.{}.{high}.{low}", 100 + COUNT.fetch_add(1, Ordering::Relaxed));
    let socket = UdpSocket::bind((&*address, 53)).expect("root, and a free port 53");
    (socket, address)
}

/// A listener whose queue is full: it answers no SYN until it is dropped.
pub struct Unresponsive {
    pub address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Unresponsive {
    pub fn at(address: &str) -> Unresponsive {
        let address: SocketAddr = address.parse().expect("an address and a port");
        let listener = listen(address, 0, |_| {});
        let address = listener.local_addr().expect("it is bound");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 10, "the backlog is not what it was set to");
        }
        Unresponsive { address, _listener: listener, _queue: queue }
    }
}

/// A listener whose connections carry little at a time, so that large replies are long underway.
pub fn narrow_listener() -> TcpListener {
    listen("127.0.0.1:0".parse().expect("an address"), 8, |socket| {
        socket.set_recv_buffer_size(8 * 1024).expect("a size");
        socket.set_tcp_mss(536).expect("a size");
    })
}

fn listen(address: SocketAddr, backlog: i32, prepare: impl Fn(&Socket)) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    prepare(&socket);
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("{address}: {error}"));
    socket.listen(backlog).expect("it is bound");
    socket.into()
}
