//! Shared by all test binaries: a peer that speaks raw WebSocket, an agent that ends with its test,
//! fakes, containers, downloads. A helper that only one binary needs lives in that binary.
//!
//! The peer is not tungstenite: a test that used the agent's own WebSocket code turned round would
//! agree with each of its mistakes. Nothing here sleeps to wait for something: it polls, with a deadline
//! that is a bound on failure, not an expectation.
#![forbid(unsafe_code)]

mod agent;
mod container;
mod fake;
mod frame;
mod hostile;
mod log;
mod log_line;
pub mod look_alike;
mod peer;
mod private_root;
mod reference_gateway;
mod release;
mod response;
pub mod schemas;
mod scratch;
mod session;
mod server;
mod stream;
mod sweep;
mod tls;
mod venv;

use std::process::Output;
use std::time::{Duration, Instant};

pub use agent::{Agent, Setup, TOKEN, agent_program};
pub use container::{Container, docker};
pub use fake::{Call, Fake, LARGE_LOG, NO_CONTAINERS, write_script};
pub use frame::{Frame, opcode};
pub use hostile::{Unresponsive, name_server, narrow_listener};
pub use log::Log;
pub use log_line::{LogLine, assert_same_lines, texts};
pub use peer::{Dial, Peer};
pub use private_root::{ENTER_ROOT, PrivateRoot};
pub use reference_gateway::{Keys, port_of};
pub use release::{OWN_VERSION, RELEASE_FILE, Release, architecture};
pub use scratch::{Scratch, kill_marked};
pub use server::{Download, PUBLIC_NAME, Server};
pub use session::{End, Session};
pub use stream::Lost;
pub use sweep::{Moment, Share, Took};
pub use tls::{Authority, Identity};
pub use venv::venv;

/// How long anything that should happen at once may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` until it has something, and panics, naming `what`, when `within` is over.
#[track_caller]
pub fn poll_until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        let asked = Instant::now();
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not seen within {within:?}");
        // A probe that starts a process has to leave the processor to others.
        std::thread::sleep(asked.elapsed().clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// All that a command has said.
pub fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Whether a process with this id is there and more than a zombie.
pub fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim().chars().next()))
        .is_some_and(|state| !matches!(state, None | Some('Z' | 'X')))
}

/// The processes of this group, without zombies.
pub fn group_members(group: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("a Linux").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        fields.split_whitespace().nth(2) == Some(&group.to_string()) && is_running(*pid)
    })
    .collect()
}
