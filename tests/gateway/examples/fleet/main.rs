//! A fleet to look at: a gateway with made-up instances in every state that the page can show, and 30 days
//! behind them. It prints a link that signs in, and takes the gateway's commands on standard input.
//!
//! usage: fleet [ADDRESS] [INSTANCES]      (127.0.0.1:0 and 40)
//!
//! - `cast` who they are and what they suffer from; `past` their history; `agent` what connects for each

mod agent;
mod cast;
mod past;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::Level;
use vmkit_gateway::access::Given;
use vmkit_gateway::access::secret::Hash;
use vmkit_gateway::arguments::Arguments;
use vmkit_gateway::gateway::Clocks;
use vmkit_gateway::net::hosts::Hosts;
use vmkit_gateway::net::places::Limits;
use vmkit_gateway::run;

const TOKEN: &str = "a-token-of-the-made-up-fleet";

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listen: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let listen = free(listen)?;
    let count = words.next().map_or(Ok(40), |word| word.parse());
    let count = count.map_err(|error| format!("the number of instances: {error}"))?;

    let folder = tempfile::Builder::new().prefix("vmkit-test-fleet-").tempdir();
    let folder = folder.map_err(|error| format!("a folder: {error}"))?;
    let cast = cast::all(count);
    past::write(folder.path(), &cast).map_err(|error| format!("the past: {error}"))?;

    std::thread::spawn(move || agent::connect_all(listen, cast));
    run::run(Arguments {
        data: Some(folder.path().to_owned()),
        listen,
        given: Given { agent_token: Some(Hash::of(TOKEN)), api_key: None },
        tls: None,
        page: None,
        hosts: Hosts::new([]),
        clocks: Clocks { poll: Some(Duration::from_secs(10)), ..Clocks::default() },
        limits: Limits::default(),
        log: Level::WARN,
        stdin: true,
    })
}

/// With a port, so that the agents know it before the gateway listens.
fn free(address: SocketAddr) -> Result<SocketAddr, String> {
    let socket =
        std::net::TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    socket.local_addr().map_err(|error| error.to_string())
}
