//! A connection takes a descriptor. The usual soft limit of 1024 is for programs that use `select`, which
//! this one does not: it takes all that it may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is no connection: the database, its readers, standard streams.
const OTHERS: u64 = 100;

pub fn raise(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let needed = connections as u64 + OTHERS;
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        tracing::warn!(most, needed, "fewer open files than --connections: raise ulimit -Hn");
    }
}
