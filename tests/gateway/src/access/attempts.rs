//! Failed attempts, by address: some at once, then a few a minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::net::network;

/// Failures that an address may have at once.
const BURST: u32 = 20;
/// After which it may have one more.
const EACH: Duration = Duration::from_secs(3);
const ADDRESSES: usize = 10_000;
/// Those that find no place share this one.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Default)]
pub struct Attempts {
    /// When all failures of an address will be forgiven.
    forgiven_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// How long this address has to wait, if it has failed too often.
    pub fn must_wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let forgiven_at = self.forgiven_at.lock();
        let of = |address| forgiven_at.get(&address).copied();
        let forgiven_at = of(network(address)).or_else(|| of(OTHERS))?;
        let budget = EACH * (BURST - 1);
        forgiven_at.checked_duration_since(now + budget).filter(|wait| !wait.is_zero())
    }

    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut forgiven_at = self.forgiven_at.lock();
        let mut key = network(address);
        if forgiven_at.len() >= ADDRESSES && !forgiven_at.contains_key(&key) {
            forgiven_at.retain(|_, at| *at > now);
            if forgiven_at.len() >= ADDRESSES {
                key = OTHERS;
            }
        }
        let at = forgiven_at.entry(key).or_insert(now);
        *at = (*at).max(now) + EACH;
        // However often it fails, it waits no longer than for one more attempt.
        *at = (*at).min(now + EACH * BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_then_one_each_few_seconds() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (address, other) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        for _ in 0..BURST {
            assert_eq!(attempts.must_wait(address, now), None);
            attempts.failed(address, now);
        }
        assert_eq!(attempts.must_wait(address, now), Some(EACH));
        assert_eq!(attempts.must_wait("2001:db8::ffff".parse().unwrap(), now), Some(EACH));
        assert_eq!(attempts.must_wait(other, now), None);
        assert_eq!(attempts.must_wait(address, now + EACH), None);
        attempts.failed(address, now + EACH);
        assert_eq!(attempts.must_wait(address, now + EACH), Some(EACH));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..ADDRESSES as u32 + 100 {
            attempts.failed(IpAddr::V4(n.into()), now);
        }
        assert!(attempts.forgiven_at.lock().len() <= ADDRESSES + 1);
        assert!(attempts.must_wait(IpAddr::V4(u32::MAX.into()), now).is_some());
    }
}
