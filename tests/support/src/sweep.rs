//! The moments at which tests kill an upgrade: spread over the time that an upgrade takes, and a
//! little beyond its end.

use std::time::Duration;

/// How long an undisturbed upgrade takes, up to the `register` of the new version.
#[derive(Clone, Copy)]
pub struct Took {
    /// From the request.
    pub all: Duration,
    /// From the end of the download.
    pub rest: Duration,
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The number of this kill in the whole sweep.
    pub point: u32,
    /// Whether `delay` begins with the end of the download, not with the request.
    pub downloaded: bool,
    pub delay: Duration,
}

/// One worker's share of a sweep.
pub struct Share {
    /// Of the whole sweep.
    pub points: u32,
    pub worker: u32,
    pub workers: u32,
}

impl Share {
    /// Kills at each point of this share. `measure` does an undisturbed upgrade; it is asked again
    /// after some kills, because a busy machine gets slower and faster.
    pub fn sweep(&self, mut measure: impl FnMut(u32) -> Took, mut kill: impl FnMut(Moment)) {
        const KILLS_PER_MEASUREMENT: usize = 10;
        let mut took = Took { all: Duration::ZERO, rest: Duration::ZERO };
        let own = (self.worker..self.points).step_by(self.workers as usize);
        for (count, point) in own.enumerate() {
            if count % KILLS_PER_MEASUREMENT == 0 {
                took = measure(point);
            }
            // The download takes most of the time, and the other stages are of more interest.
            let downloaded = count % 2 == 1;
            let whole = if downloaded { took.rest } else { took.all };
            // A little beyond the end.
            let delay = whole * point / self.points * 11 / 10;
            kill(Moment { point, downloaded, delay });
        }
    }
}
