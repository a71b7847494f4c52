//! Whether systemd has tried in vain to start a binary on trial. A binary that ends before it
//! records its start is counted only by systemd, as `NRestarts`.

use std::rc::Rc;

use super::systemd;
use crate::run::job::Children;

/// So many failed starts are enough for a roll-back.
const ENOUGH: u64 = 3;

/// The failed starts since the first question.
#[derive(Default)]
pub struct FailedStarts {
    last: Option<u64>,
    count: u64,
}

impl FailedStarts {
    /// Asks systemd, and says whether the binary is to be rolled back.
    pub fn are_enough(&mut self, unit: &str, children: &Rc<Children>) -> bool {
        systemd::restarts(unit, children).is_some_and(|restarts| self.see(restarts))
    }

    /// A restart by hand sets systemd's count back to zero.
    fn see(&mut self, restarts: u64) -> bool {
        let before = self.last.replace(restarts);
        self.count += match before {
            None => 0,
            Some(before) => restarts.checked_sub(before).unwrap_or(restarts),
        };
        self.count >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_from_before_the_trial_do_not_count() {
        let mut failed = FailedStarts::default();
        for (restarts, enough) in [(7, false), (7, false), (0, false), (1, false), (3, true)] {
            assert_eq!(failed.see(restarts), enough, "{restarts}");
        }
        let mut failed = FailedStarts::default();
        for (restarts, enough) in [(0, false), (2, false), (3, true)] {
            assert_eq!(failed.see(restarts), enough, "{restarts}");
        }
    }
}
