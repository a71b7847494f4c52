//! `metrics_collect`: one snapshot of this machine. It takes one second, in which the processors are
//! watched and docker is asked at the same time.

mod engine;
mod host;
mod parts;
mod snapshot;

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::host::usage::CpuTimes;
use crate::requests::context::Context;
use crate::wire::rpc;

use engine::Engine;
use snapshot::CpuReading;
pub use snapshot::{Snapshot, Taken};

/// How long the processors are watched.
const SAMPLE: Duration = Duration::from_secs(1);

/// A snapshot that is being taken.
pub struct Sample {
    before: CpuReading,
    /// The second reading, taken after one second also if docker takes longer.
    after: Option<CpuReading>,
    over: Instant,
    engine: Engine,
}

/// Checks that the parameters are an object, if there are any. No member means anything yet; a newer
/// gateway may send some.
///
/// # Errors
/// [`rpc::Code::InvalidParams`].
pub fn check(params: Option<&RawValue>) -> Result<(), rpc::Error> {
    #[derive(Deserialize)]
    struct None {}
    rpc::params::<None>(params).map(drop)
}

impl Sample {
    pub fn start(context: Context) -> Sample {
        Sample {
            engine: Engine::ask(context),
            before: CpuTimes::read(),
            after: None,
            over: context.now + SAMPLE,
        }
    }

    /// When the next turn is due even if docker says nothing.
    pub fn deadline(&self) -> Instant {
        let engine = self.engine.deadline().filter(|_| self.after.is_some());
        engine.unwrap_or(self.over)
    }

    /// Moves on as far as it goes without waiting. Returns the snapshot once it is complete.
    pub fn turn(&mut self, now: Instant) -> Option<Snapshot> {
        self.engine.turn(now);
        if now < self.over {
            return None;
        }
        let after = self.after.get_or_insert_with(CpuTimes::read);
        let containers = self.engine.take()?;
        Some(Snapshot::new(&self.before, after, containers))
    }
}
