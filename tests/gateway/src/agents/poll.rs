//! When an instance is asked for its next snapshot: at its own place within each period, so that a
//! fleet's polls are spread over the minute, and each minute of history has exactly one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::register::InstanceId;
use crate::clock::Moment;

/// Of a period, at its end: a snapshot may take 15 s of a minute, and still belongs to that minute.
const SLACK: f64 = 0.25;

/// `None` where the gateway does not poll.
pub fn next(period: Option<Duration>, instance: &InstanceId) -> Option<Instant> {
    let period = period?;
    Some(Instant::now() + wait(period, place(period, instance), Moment::now()))
}

fn place(period: Duration, instance: &InstanceId) -> Duration {
    let mut hasher = DefaultHasher::new();
    instance.hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    period.mul_f64(share * (1.0 - SLACK))
}

/// Until the clock on the wall is at `place` of a period; never nothing, so a poll is not repeated.
fn wait(period: Duration, place: Duration, now: Moment) -> Duration {
    let period_ms = period.as_millis().max(1);
    let now_ms = u128::try_from(now.millis()).unwrap_or(0) % period_ms;
    let ahead = (place.as_millis() + period_ms - now_ms) % period_ms;
    Duration::from_millis(u64::try_from(if ahead == 0 { period_ms } else { ahead }).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn places() -> Vec<Duration> {
        let id = |n: u32| InstanceId::try_from(format!("i-{n:05}")).unwrap();
        (0..10_000).map(|n| place(MINUTE, &id(n))).collect()
    }

    #[test]
    fn a_fleet_is_spread_over_the_minute() {
        let mut seconds = [0; 60];
        for place in places() {
            seconds[place.as_secs() as usize] += 1;
        }
        let (first, rest) = seconds.split_at(45);
        assert!(first.iter().all(|count| (150..300).contains(count)), "{seconds:?}");
        assert!(rest.iter().all(|count| *count == 0), "{seconds:?}");
    }

    #[test]
    fn each_minute_has_one_poll_wherever_the_clock_is() {
        for (n, place) in places().into_iter().enumerate() {
            let now = Moment::from_millis(1_700_000_000_000 + 977 * n as i64);
            let wait = wait(MINUTE, place, now);
            assert!(wait > Duration::ZERO && wait <= MINUTE);
            let then = now.millis() as u128 + wait.as_millis();
            assert_eq!(then % 60_000, place.as_millis());
        }
    }
}
