//! When to ping, and when to give the gateway up. Pure: time and events come from the session.

use std::time::{Duration, Instant};

/// The time between two pings.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How long a ping may take to be sent, and then again to be answered.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the session must do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    Wait,
    Ping,
    Dead(Death),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// The ping could not be sent: the gateway does not read.
    Unsent,
    /// The ping was sent and nothing came back.
    Unanswered,
}

#[derive(Debug)]
pub struct Heartbeat {
    next_ping: Instant,
    ping: Ping,
}

#[derive(Debug)]
enum Ping {
    None,
    /// Handed to the session, not all of it in the socket yet.
    Leaving(Instant),
    /// In the socket; no frame has arrived since.
    Sent(Instant),
}

impl Heartbeat {
    pub fn new(now: Instant) -> Heartbeat {
        Heartbeat { next_ping: now + PERIOD, ping: Ping::None }
    }

    pub fn beat(&self, now: Instant) -> Beat {
        match self.ping {
            Ping::Leaving(since) if now >= since + PATIENCE => Beat::Dead(Death::Unsent),
            Ping::Sent(since) if now >= since + PATIENCE => Beat::Dead(Death::Unanswered),
            Ping::None if now >= self.next_ping => Beat::Ping,
            _ => Beat::Wait,
        }
    }

    /// When [`Heartbeat::beat`] changes by time alone.
    pub fn deadline(&self) -> Instant {
        match self.ping {
            Ping::None => self.next_ping,
            Ping::Leaving(since) | Ping::Sent(since) => since + PATIENCE,
        }
    }

    pub fn ping_queued(&mut self, now: Instant) {
        self.ping = Ping::Leaving(now);
        self.next_ping = now + PERIOD;
    }

    /// Everything queued so far is in the socket.
    pub fn flushed(&mut self, now: Instant) {
        if let Ping::Leaving(_) = self.ping {
            self.ping = Ping::Sent(now);
        }
    }

    /// A frame has arrived: an answer to the ping that was sent, if one was.
    pub fn heard(&mut self) {
        if let Ping::Sent(_) = self.ping {
            self.ping = Ping::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pings_every_period_while_answered() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        for round in 1..=3 {
            let due = start + PERIOD * round;
            assert_eq!(heartbeat.beat(due - Duration::from_millis(1)), Beat::Wait);
            assert_eq!(heartbeat.deadline(), due);
            assert_eq!(heartbeat.beat(due), Beat::Ping);
            heartbeat.ping_queued(due);
            heartbeat.flushed(due);
            assert_eq!(heartbeat.beat(due + second(9)), Beat::Wait);
            heartbeat.heard();
        }
    }

    #[test]
    fn the_answer_is_due_ten_seconds_after_the_ping_has_left() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.ping_queued(start + second(30));
        heartbeat.flushed(start + second(37));
        assert_eq!(heartbeat.beat(start + second(46)), Beat::Wait);
        assert_eq!(heartbeat.beat(start + second(47)), Beat::Dead(Death::Unanswered));
    }

    #[test]
    fn frames_do_not_excuse_a_ping_that_cannot_leave() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.ping_queued(start + second(30));
        heartbeat.heard();
        assert_eq!(heartbeat.beat(start + second(40)), Beat::Dead(Death::Unsent));
    }
}
