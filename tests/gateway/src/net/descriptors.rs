//! A connection takes a descriptor. The usual soft limit of 1024 is for programs that use `select`, which
//! this one does not: it takes all that it may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is no connection: the database, its readers, standard streams.
const OTHERS: usize = 100;

/// Connections that nobody asked for.
const DEFAULT: usize = 25_000;

/// Raises the limit as far as it goes. How many connections there may be: as many as were asked for, else
/// as many as there is room for.
pub fn raise(asked: Option<usize>) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let most = limit.maximum.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let room = most.saturating_sub(OTHERS).max(1);
    let Some(asked) = asked else { return room.min(DEFAULT) };
    if room < asked {
        tracing::warn!(room, asked, "fewer open files than --connections: raise ulimit -Hn");
    }
    asked
}
