//! What the tests share: `gateway` the binary under test, `agent` an agent that a test plays, `client`
//! REST and its live streams.

pub mod agent;
pub mod client;
pub mod gateway;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use agent::Agent;
pub use client::{Answer, Client};
pub use gateway::Gateway;

/// For what takes milliseconds on a machine that does nothing else.
pub const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

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
