//! The shape of a check, and where it runs.

use std::pin::Pin;

use super::bench::{Bench, Shared};
use super::fault::Outcome;

pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// How a check looks.
#[derive(Clone, Copy)]
pub enum Run {
    /// Does something to an agent, in a lane. Checks of one lane run one after another with the same
    /// agent; lanes run beside each other, each with an agent of its own.
    Active(&'static str, for<'a> fn(&'a mut Bench) -> Running<'a>),
    /// Looks at all that was said in the end, whatever it was said for.
    Passive(fn(&Shared) -> Outcome),
}

pub struct Check {
    /// Of its sentence in `dist/protocol.md`.
    pub id: &'static str,
    pub run: Run,
}

impl Check {
    /// Whether it only looks at what was said for other checks.
    pub fn is_passive(&self) -> bool {
        matches!(self.run, Run::Passive(_))
    }
}

/// A table of checks: `"A-X-1" in "lane" => function` for those that act, and `"A-X-2" => function` for
/// those that only look.
macro_rules! checks {
    (@run $lane:literal $function:path) => {
        $crate::check::table::Run::Active($lane, |bench| Box::pin($function(bench)))
    };
    (@run $function:path) => { $crate::check::table::Run::Passive($function) };
    ($($id:literal $(in $lane:literal)? => $function:path),* $(,)?) => {
        &[$($crate::check::table::Check {
            id: $id,
            run: checks!(@run $($lane)? $function),
        }),*]
    };
}
pub(crate) use checks;
