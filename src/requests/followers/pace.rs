//! When the next chunk may go. The follows share one pace, which leaves room for all else on the wire: a
//! chunk goes only when nothing else waits, and a pause comes after it. Pure.
//!
//! A gateway that reads more slowly is behind. Until it has been behind for two seconds, docker waits. From
//! then on it counts as lost, and the follows drop their oldest lines.

use std::time::{Duration, Instant};

/// The pause after a chunk, for each of its bytes: 3 MB a second.
const PAUSE_PER_BYTE: Duration = Duration::from_nanos(333);
/// How long a gateway may be behind.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Pace {
    next: Option<Instant>,
    /// The session was not free for a chunk when it was due.
    late: bool,
    /// Since then each chunk was late.
    behind: Option<Instant>,
}

impl Pace {
    /// Whether a chunk may go now. `ready`: there is one. `free`: the session has sent all.
    pub fn may_send(&mut self, now: Instant, ready: bool, free: bool) -> bool {
        if !ready {
            if free {
                // The gateway has taken all there was.
                *self = Pace { next: self.next, ..Pace::default() };
            }
            return false;
        }
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        if !free {
            self.late = true;
            self.behind.get_or_insert(now);
        }
        free
    }

    pub fn sent(&mut self, now: Instant, bytes: usize) {
        if !std::mem::take(&mut self.late) {
            self.behind = None;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.next = Some(now + PAUSE_PER_BYTE * bytes);
    }

    pub fn is_lost(&self, now: Instant) -> bool {
        self.behind.is_some_and(|since| now >= since + PATIENCE)
    }

    /// When this changes by time alone, while a chunk is ready.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let lost = self.behind.map(|since| since + PATIENCE);
        // Once the pause is over, the session's socket says when there is room.
        self.next.into_iter().chain(lost).filter(|due| now < *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 64 * 1024;

    #[test]
    fn a_pause_is_after_each_chunk_by_its_length() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(pace.may_send(now, true, true));
        pace.sent(now, CHUNK);
        let due = pace.deadline(now).unwrap();
        assert!((20..25).contains(&(due - now).as_millis()), "{:?}", due - now);
        assert!(!pace.may_send(due - Duration::from_micros(1), true, true));
        assert!(pace.may_send(due, true, true));
        pace.sent(due, 100);
        assert!(pace.may_send(due + Duration::from_micros(40), true, true));
    }

    #[test]
    fn a_gateway_is_lost_after_two_seconds_in_which_each_chunk_was_late() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |tenths: u32| start + tenths * Duration::from_millis(100);
        for tenth in 0..20 {
            assert!(!pace.may_send(at(tenth), true, false));
            assert!(!pace.is_lost(at(tenth)));
            assert_eq!(pace.deadline(at(tenth)), Some(at(20)));
            if tenth % 5 == 4 {
                // Late, and the next one is too.
                pace.sent(at(tenth), CHUNK);
            }
        }
        assert!(pace.is_lost(at(20)));
        assert_eq!(pace.deadline(at(20)), None);

        // A chunk that is not late, or nothing more to send: it has caught up.
        assert!(!pace.may_send(at(20), true, false));
        pace.sent(at(20), CHUNK);
        assert!(pace.is_lost(at(20)), "that one was late");
        assert!(pace.may_send(at(21), true, true));
        pace.sent(at(21), CHUNK);
        assert!(!pace.is_lost(at(22)));

        assert!(!pace.may_send(at(30), true, false));
        assert!(!pace.may_send(at(40), false, false));
        assert!(pace.is_lost(at(60)));
        assert!(!pace.may_send(at(60), false, true));
        assert!(!pace.is_lost(at(60)));
    }
}
