//! What the tests share: `gateway` the binary under test, `agent` an agent that a test plays, `client`
//! REST and its live streams.

pub mod agent;
pub mod client;
pub mod gateway;

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use agent::Agent;
pub use client::{Answer, Client};
pub use gateway::Gateway;

/// For what takes milliseconds on a machine that does nothing else.
pub const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of a Python environment with what requirements.txt lists.
#[track_caller]
pub fn venv() -> String {
    let mut venv = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/build/venv"));
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/requirements.txt");
    let made = venv.arg(requirements).output().expect("the script is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// Asks again and again until there is an answer; how long that took.
#[track_caller]
pub fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let asked_at = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{asked_at}: never: {what}");
            sleep(PAUSE).await;
        }
    }
}
