//! Codes of sign-in links: each works once, for a short time, and is kept in memory as a hash.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::scope::Scopes;
use super::secret::{Hash, random};

const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The oldest ends for one more.
const CODES: usize = 16;

#[derive(Default)]
pub struct Codes(Mutex<Vec<Code>>);

struct Code {
    hash: Hash,
    scopes: Scopes,
    until: Instant,
}

impl Codes {
    /// `None`: the kernel gives no random bytes.
    pub fn make(&self, scopes: Scopes, now: Instant) -> Option<String> {
        let secret = random().ok()?;
        let mut codes = self.0.lock();
        codes.retain(|code| code.until > now);
        if codes.len() >= CODES {
            codes.remove(0);
        }
        codes.push(Code { hash: Hash::of(&secret), scopes, until: now + LIFETIME });
        Some(secret)
    }

    /// What it is good for. It is used up.
    pub fn take(&self, presented: &str, now: Instant) -> Option<Scopes> {
        let hash = Hash::of(presented);
        let mut codes = self.0.lock();
        codes.retain(|code| code.until > now);
        let place = codes.iter().position(|code| code.hash.is(hash.bytes()))?;
        Some(codes.remove(place).scopes)
    }

    pub fn forget(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_not_for_long() {
        let (codes, now) = (Codes::default(), Instant::now());
        let code = codes.make(Scopes::all(), now).unwrap();
        assert_eq!(codes.take("another", now), None);
        assert_eq!(codes.take(&code, now), Some(Scopes::all()));
        assert_eq!(codes.take(&code, now), None);
        let code = codes.make(Scopes::all(), now).unwrap();
        assert_eq!(codes.take(&code, now + LIFETIME), None);
    }

    #[test]
    fn there_are_only_so_many() {
        let (codes, now) = (Codes::default(), Instant::now());
        let first = codes.make(Scopes::all(), now).unwrap();
        for _ in 0..CODES {
            codes.make(Scopes::all(), now);
        }
        assert_eq!(codes.take(&first, now), None);
    }
}
