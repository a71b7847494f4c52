//! Keeps a failure that repeats from filling the log: it is logged once, then every ten minutes with
//! a count. Pure.

use std::time::{Duration, Instant};

use crate::host::timestamp::Timestamp;

const REMINDER: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub struct Repeats {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    kind: String,
    said: Instant,
    unsaid: u32,
}

impl Repeats {
    /// The text to log for a failure, if any. Failures of one `kind` are the same; times in it do
    /// not count.
    pub fn say(&mut self, now: Instant, kind: &str, failure: &str) -> Option<String> {
        let is_time = |word: &&str| Timestamp::parse_prefix(word.as_bytes()).is_some();
        let words: Vec<&str> = kind.split(' ').filter(|word| !is_time(word)).collect();
        let kind = words.join(" ");
        match &mut self.last {
            Some(last) if last.kind == kind && now < last.said + REMINDER => {
                last.unsaid += 1;
                None
            }
            Some(last) if last.kind == kind => {
                let count = last.unsaid + 1;
                (last.said, last.unsaid) = (now, 0);
                Some(format!("{failure} ({count} times since this was last logged)"))
            }
            _ => {
                self.last = Some(Last { kind, said: now, unsaid: 0 });
                Some(failure.to_owned())
            }
        }
    }

    /// The next failure is logged, whatever its kind.
    pub fn clear(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: [&str; 2] = ["down at 2026-01-01T00:00:00Z", "down at 2026-01-01T00:01:00Z"];

    #[test]
    fn a_failure_is_said_once_and_then_every_ten_minutes() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let mut say = |minutes: u64, kind: &str| {
            repeats.say(start + Duration::from_secs(60 * minutes), kind, &format!("oh: {kind}"))
        };
        assert_eq!(say(0, AT[0]), Some(format!("oh: {}", AT[0])));
        for minute in 1..10 {
            assert_eq!(say(minute, AT[1]), None);
        }
        let reminder = say(10, AT[1]).unwrap_or_default();
        assert_eq!(reminder, format!("oh: {} (10 times since this was last logged)", AT[1]));
        assert_eq!(say(10, AT[0]), None);
        assert!(say(10, "answered 500").is_some());
        assert!(say(10, "answered 502").is_some());
        repeats.clear();
        assert!(repeats.say(start, "answered 502", "").is_some());
    }
}
