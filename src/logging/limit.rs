//! The bound on the lines that a gateway can cause: at most 20 in any 10 s, then one line with the
//! number of those left out. Pure.
//!
//! Some of the 20 are kept for lines about sessions (connected, registered, lost), so that a gateway
//! that asks a lot does not hide a lost session.

use std::time::{Duration, Instant};

const LINES: usize = 20;
/// How many of the 20 are kept for lines about sessions.
const RESERVED: usize = 6;
const WINDOW: Duration = Duration::from_secs(10);

/// What a counted line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// A message from the gateway, or its outcome.
    Message,
    /// A session's beginning or end. Between two sessions lies the backoff's sleep.
    Session,
}

#[derive(Debug, Default)]
pub struct Limit {
    /// When the last 20 lines were written, in a ring.
    written: [Option<Instant>; LINES],
    /// The index of the oldest.
    oldest: usize,
    /// Until then every line about a message is left out.
    silent_until: Option<Instant>,
    left_out: u64,
}

impl Limit {
    /// Whether a line is to be written now. Ask [`Limit::left_out`] first.
    pub fn admits(&mut self, now: Instant, about: About) -> bool {
        let (reserved, silent) = match about {
            About::Message => (RESERVED, self.silent_until.is_some_and(|until| now < until)),
            About::Session => (0, false),
        };
        let is_recent = |at: Instant| now < at + WINDOW;
        if silent || self.written[(self.oldest + reserved) % LINES].is_some_and(is_recent) {
            self.left_out += 1;
            // From the first line that is left out, so that a count comes once in 10 s at most.
            self.silent_until.get_or_insert(now + WINDOW);
            return false;
        }
        self.written[self.oldest] = Some(now);
        self.oldest = (self.oldest + 1) % LINES;
        true
    }

    /// How many lines were left out, if that is to be logged now: after the silence, or before an
    /// `uncounted` line.
    pub fn left_out(&mut self, now: Instant, uncounted: bool) -> Option<u64> {
        let over = self.silent_until.is_some_and(|until| now >= until);
        if over {
            self.silent_until = None;
        }
        let told = (over || uncounted) && self.left_out > 0;
        told.then(|| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the logger does with a line: the count that it writes first, and whether it writes the line.
    fn line(limit: &mut Limit, now: Instant, about: Option<About>) -> (Option<u64>, bool) {
        let count = limit.left_out(now, about.is_none());
        (count, about.is_none_or(|about| limit.admits(now, about)))
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let (start, mut limit) = (Instant::now(), Limit::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let flood: Vec<bool> =
            (0..100).map(|_| line(&mut limit, start, Some(About::Message)).1).collect();
        assert_eq!(flood.iter().filter(|written| **written).count(), LINES - RESERVED);
        assert!(flood[..LINES - RESERVED].iter().all(|written| *written), "the first are written");
        for _ in 0..RESERVED {
            assert_eq!(line(&mut limit, at(1), Some(About::Session)), (None, true));
        }
        assert_eq!(line(&mut limit, at(2), Some(About::Session)), (None, false));
        // A line of the agent's own is always written, and the count before it.
        assert_eq!(line(&mut limit, at(3), None), (Some(87), true));
        assert_eq!(line(&mut limit, at(4), None), (None, true));
        assert_eq!(line(&mut limit, at(9), Some(About::Message)), (None, false));
        assert_eq!(line(&mut limit, at(10), Some(About::Message)), (Some(1), true));
        assert_eq!(line(&mut limit, at(30), Some(About::Message)), (None, true));
    }

    #[test]
    fn what_is_rare_is_never_left_out() {
        let (start, mut limit) = (Instant::now(), Limit::default());
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            assert_eq!(line(&mut limit, now, Some(About::Message)), (None, true));
        }
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_nothing_is_lost_count_of(
            steps in prop::collection::vec((0..2500_u64, 0..20_u8), 1..600),
        ) {
            let start = Instant::now();
            let (mut now, mut limit) = (start, Limit::default());
            let (mut written, mut counts) = (Vec::new(), Vec::new());
            let (mut left_out, mut told) = (0, 0);
            for (pause, kind) in steps {
                // Most lines come in bursts.
                now += Duration::from_millis(if pause < 2000 { 0 } else { pause });
                let about = match kind {
                    0 => None,
                    1..4 => Some(About::Session),
                    _ => Some(About::Message),
                };
                let (count, is_written) = line(&mut limit, now, about);
                told += count.unwrap_or_default();
                if about.is_some() {
                    counts.extend(count.map(|_| now));
                    if is_written { written.push(now) } else { left_out += 1 }
                } else {
                    prop_assert!(is_written && told == left_out);
                }
            }
            let too_close = |times: &[Instant], many: usize| {
                times.windows(many + 1).any(|some| some[many] - some[0] < WINDOW)
            };
            prop_assert!(!too_close(&written, LINES), "more than 20 lines in 10 s");
            prop_assert!(!too_close(&counts, 1), "two counts in 10 s");
            told += limit.left_out(now, true).unwrap_or_default();
            prop_assert_eq!(told, left_out);
        }
    }
}
