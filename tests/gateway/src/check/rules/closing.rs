//! "Closing".

use std::time::Duration;

use super::super::bench::Bench;
use super::super::check::{Check, checks};
use super::super::fault::{Outcome, ensure};
use super::super::wire::frame::{self, whole};

pub const CHECKS: &[Check] = checks![
    "A-CLOSE-6" in "closing" => binary,
];

async fn binary(bench: &mut Bench) -> Outcome {
    let session = bench.fresh().await?;
    session.send(whole(frame::BINARY), b"{}").await;
    let code = session.closed(Duration::from_secs(4)).await;
    ensure(code == Some(1003), || format!("closed with {code:?}"))
}
