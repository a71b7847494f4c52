//! How long to wait before the next attempt: exponential, with full jitter. A pure function of what
//! has happened and of a random number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);
/// A registered session that lived this long resets the delay.
const PROVEN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Backoff {
    /// Failures since the delay was last reset.
    failures: u32,
}

impl Backoff {
    /// The delay before the next attempt.
    ///
    /// `random` is uniform over all of `u32`. The delay is anything from zero to the ceiling, also
    /// at the cap: a fleet that lost its gateway must not come back in step. It is added to
    /// `retry_after`, so that the gateway's own time stays a lower bound and the fleet is still
    /// spread.
    pub fn delay(&mut self, random: u32, retry_after: Option<Duration>) -> Duration {
        let ceiling =
            BASE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(CAP);
        self.failures = (self.failures + 1).min(31);
        let jittered = ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX));
        jittered + retry_after.unwrap_or_default()
    }

    /// A session has ended that was registered at `registered`, if ever.
    pub fn session_ended(&mut self, registered: Option<Instant>, now: Instant) {
        if registered.is_some_and(|since| now.saturating_duration_since(since) >= PROVEN) {
            self.failures = 0;
        }
    }
}

/// For the jitter.
pub fn random() -> u32 {
    // Each RandomState has a new seed from the kernel; the hash of nothing depends on that alone.
    (RandomState::new().build_hasher().finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_to_the_cap_and_stay_there() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<_> = (0..40).map(|_| backoff.delay(u32::MAX, None).as_secs()).collect();
        assert_eq!(ceilings[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(ceilings[8..].iter().all(|&ceiling| ceiling == 60));
    }

    #[test]
    fn jitter_covers_the_whole_range_also_at_the_cap() {
        let mut backoff = Backoff { failures: 20 };
        assert_eq!(backoff.delay(0, None), Duration::ZERO);
        assert_eq!(backoff.delay(u32::MAX / 2, None).as_secs(), 29);
        assert_eq!(backoff.delay(u32::MAX, None).as_secs(), 60);
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        let mut backoff = Backoff::default();
        let ten = Some(Duration::from_secs(10));
        assert_eq!(backoff.delay(0, ten).as_secs(), 10);
        assert_eq!(backoff.delay(u32::MAX, ten).as_secs(), 12);
    }

    #[test]
    fn only_a_registered_session_of_a_minute_ends_the_series() {
        let now = Instant::now();
        let long_ago = now.checked_sub(PROVEN).unwrap();
        let mut backoff = Backoff { failures: 5 };
        backoff.session_ended(None, now);
        backoff.session_ended(Some(long_ago + Duration::from_secs(1)), now);
        assert_eq!(backoff.failures, 5);
        backoff.session_ended(Some(long_ago), now);
        assert_eq!(backoff.failures, 0);
    }
}
