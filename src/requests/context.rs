//! What a handler gets: the time, the configuration, and the starter of processes.

use std::rc::Rc;
use std::time::Instant;

use crate::config::Config;
use crate::run::job::Children;

/// The time of this turn, the configuration, and the door for processes.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub now: Instant,
    pub config: &'a Config,
    pub children: &'a Rc<Children>,
}
