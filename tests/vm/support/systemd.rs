//! Questions to a machine's systemd and its journal.

use std::time::Duration;

use super::journal::{self, Line};
use super::{PATIENCE, Vm, poll_until};

impl Vm {
    /// `running`, or `degraded` where a unit has failed.
    #[track_caller]
    pub fn wait_for_boot(&self) -> String {
        poll_until("the machine's boot", PATIENCE, || {
            let state = self.try_sh("systemctl is-system-running").stdout;
            ["running", "degraded"].contains(&state.as_str()).then_some(state)
        })
    }

    /// A property of a unit, as `systemctl show` has it.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --property '{property}' --value '{unit}'"))
    }

    /// The unit's main process; 0 where it has none.
    #[track_caller]
    pub fn main_pid(&self, unit: &str) -> u32 {
        self.property(unit, "MainPID").parse().expect("a number")
    }

    /// The journal of a unit, as `journalctl --unit` selects it, from all boots.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> Vec<Line> {
        // What a process has written may still be on its way to the file.
        let script = format!("journalctl --sync; journalctl --unit '{unit}' --output json --all");
        journal::parse(&self.sh(&script))
    }

    /// Waits for a line of this unit's journal, at `from` or later, that holds all of these words, in any case.
    #[track_caller]
    pub fn wait_for_journal(
        &self,
        unit: &str,
        from: usize,
        words: &[&str],
        within: Duration,
    ) -> Line {
        let what = format!("a line with {words:?} in the journal of {unit}");
        poll_until(&what, within, || {
            self.journal(unit).into_iter().skip(from).find(|line| line.holds(words))
        })
    }
}
