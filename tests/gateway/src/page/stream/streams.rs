//! All open streams: whose they are, and a way to each to change its topics. A session has a few, for the
//! moment in which one tab takes over from another; the oldest ends for one more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::topic::Change;
use crate::access::secret::{Hash, random};
use crate::api::problem::Problem;

const STREAMS_OF_SESSION: usize = 4;
/// That wait for one stream.
const CHANGES: usize = 128;

#[derive(Default)]
pub struct Streams {
    open: Arc<Mutex<HashMap<String, Handle>>>,
    numbers: AtomicU64,
}

struct Handle {
    session: Hash,
    number: u64,
    changes: mpsc::Sender<Change>,
}

/// A stream's end of it; it is forgotten with it.
pub struct Opened {
    pub name: String,
    /// Ends when the stream has to.
    pub changes: mpsc::Receiver<Change>,
    open: Arc<Mutex<HashMap<String, Handle>>>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.open.lock().remove(&self.name);
    }
}

impl Streams {
    /// `None`: the kernel gives no random bytes.
    pub fn open(&self, session: &Hash) -> Option<Opened> {
        let name = random().ok()?;
        let (sender, changes) = mpsc::channel(CHANGES);
        let mut open = self.open.lock();
        let of_session = open.iter().filter(|(_, handle)| handle.session.is(session.bytes()));
        let mut of_session: Vec<(u64, String)> =
            of_session.map(|(name, handle)| (handle.number, name.clone())).collect();
        of_session.sort();
        let too_many = (of_session.len() + 1).saturating_sub(STREAMS_OF_SESSION);
        for (_, oldest) in of_session.into_iter().take(too_many) {
            open.remove(&oldest);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        open.insert(name.clone(), Handle { session: session.clone(), number, changes: sender });
        Some(Opened { name, changes, open: self.open.clone() })
    }

    pub fn change(&self, name: &str, session: &Hash, changes: Vec<Change>) -> Result<(), Problem> {
        let open = self.open.lock();
        let handle = open.get(name).filter(|handle| handle.session.is(session.bytes()));
        let handle = handle
            .ok_or_else(|| Problem::not_found("no-such-stream", "this stream is not open"))?;
        for change in changes {
            let sent = handle.changes.try_send(change);
            sent.map_err(|_| Problem::busy("too many changes wait for this stream"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_few_and_only_its_own() {
        let streams = Streams::default();
        let (session, other) = (Hash::of("a"), Hash::of("b"));
        let of_other = streams.open(&other).unwrap();
        let mut opened: Vec<Opened> =
            (0..=STREAMS_OF_SESSION).map(|_| streams.open(&session).unwrap()).collect();
        let remove = || vec![Change::Remove("fleet".to_owned())];
        assert!(streams.change(&opened[0].name, &session, remove()).is_err(), "the oldest ended");
        assert!(opened[0].changes.try_recv().is_err() && opened[0].changes.is_closed());
        for opened in &opened[1..] {
            assert!(streams.change(&opened.name, &session, remove()).is_ok());
            assert!(streams.change(&opened.name, &other, remove()).is_err());
        }
        assert!(streams.change(&of_other.name, &other, remove()).is_ok());
        opened.clear();
        drop(of_other);
        assert!(streams.open.lock().is_empty());
    }

    #[test]
    fn changes_that_wait_are_bounded() {
        let streams = Streams::default();
        let session = Hash::of("a");
        let opened = streams.open(&session).unwrap();
        let change = |_| Change::Remove("fleet".to_owned());
        assert!(streams.change(&opened.name, &session, (0..CHANGES).map(change).collect()).is_ok());
        assert!(streams.change(&opened.name, &session, vec![change(0)]).is_err());
    }
}
