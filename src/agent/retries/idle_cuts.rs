//! Notices that something between here and the gateway closes idle connections: then session after
//! session ends at about the same age, earlier than a ping is due. Pure.

use std::time::Duration;

use crate::wire::heartbeat::PERIOD;

/// So many sessions in a row are no chance any more.
const ENOUGH: u32 = 3;
/// Gateways that fail on an agent's first messages end a session earlier than this, and nobody sets
/// an idle time-out so short.
const LEAST: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct IdleCuts {
    /// The age of the first session of the series, and how many there have been.
    series: Option<(Duration, u32)>,
}

impl IdleCuts {
    /// A session has ended. `age` is the time since the gateway accepted it, if the connection then
    /// ended without a close frame. Returns what to add to the words about this end: advice, once in
    /// each series.
    pub fn session_ended(&mut self, age: Option<Duration>) -> String {
        let Some(age) = age.filter(|age| (LEAST..PERIOD).contains(age)) else {
            self.series = None;
            return String::new();
        };
        let (first, count) = match self.series {
            Some((first, count)) if is_about(first, age) => (first, count.saturating_add(1)),
            _ => (age, 1),
        };
        self.series = Some((first, count));
        if count != ENOUGH {
            return String::new();
        }
        let (seconds, needed) = ((first.as_secs_f64()).round(), PERIOD.as_secs());
        format!(
            " (session {count} in a row that ends so after about {seconds} s); a proxy or load \
             balancer before the gateway may close idle connections after {seconds} s: set its idle \
             time-out above {needed} s (haproxy: timeout tunnel; nginx: proxy_read_timeout; Apache: \
             ProxyTimeout)"
        )
    }
}

/// Time-outs are exact to about a second, and what the gateway does after `register` moves them.
fn is_about(first: Duration, age: Duration) -> bool {
    first.abs_diff(age) <= Duration::from_millis(500) + first / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of these ends, in milliseconds, brings the advice.
    fn advised(ages: &[Option<u64>]) -> Vec<bool> {
        let mut cuts = IdleCuts::default();
        let ended = |age: &Option<u64>| cuts.session_ended(age.map(Duration::from_millis));
        ages.iter().map(ended).map(|advice| !advice.is_empty()).collect()
    }

    #[test]
    fn the_third_end_at_one_age_names_the_time_out_once() {
        let mut cuts = IdleCuts::default();
        let mut ended = |age: u64| cuts.session_ended(Some(Duration::from_millis(age)));
        assert_eq!([ended(24_900), ended(25_100)], ["", ""]);
        assert_eq!(
            ended(25_900),
            " (session 3 in a row that ends so after about 25 s); a proxy or load balancer before \
             the gateway may close idle connections after 25 s: set its idle time-out above 30 s \
             (haproxy: timeout tunnel; nginx: proxy_read_timeout; Apache: ProxyTimeout)"
        );
        assert!((0..100).all(|_| ended(25_000).is_empty()));
    }

    #[test]
    fn other_ages_and_other_ends_begin_anew() {
        const CUT: Option<u64> = Some(10_000);
        let third = [false, false, true];
        assert_eq!(advised(&[CUT; 3]), third);
        for other in [None, Some(1_000), Some(20_000), Some(31_000), Some(90_000)] {
            let ages = [CUT, CUT, other, CUT, CUT, CUT, CUT];
            let expected = [false, false, false, false, false, true, false];
            assert_eq!(advised(&ages), expected, "{other:?}");
        }
        // A new series is told again.
        let twice = advised(&[CUT, CUT, CUT, None, CUT, CUT, CUT]);
        assert_eq!((&twice[..3], &twice[4..]), (&third[..], &third[..]));
    }

    #[test]
    fn sessions_that_are_old_enough_for_a_ping_or_end_at_once_tell_nothing() {
        for age in [0, 100, 1_999, 30_000, 60_000] {
            assert_eq!(advised(&[Some(age); 5]), [false; 5], "{age} ms");
        }
        for age in [2_000, 29_999] {
            assert_eq!(advised(&[Some(age); 4]), [false, false, true, false], "{age} ms");
        }
    }

    #[test]
    fn the_ages_of_a_series_are_about_the_same() {
        assert_eq!(advised(&[Some(5_000), Some(5_900), Some(4_100)]), [false, false, true]);
        assert_eq!(advised(&[Some(5_000), Some(5_000), Some(6_100)]), [false; 3]);
        assert_eq!(advised(&[Some(2_500), Some(7_000), Some(15_000), Some(22_000)]), [false; 4]);
    }
}
