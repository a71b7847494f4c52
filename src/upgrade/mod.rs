//! Replacing our own binary so that no machine is left without an agent.
//!
//! Three processes take part. The *upgrader* (`vmkit-agent upgrade`, [`upgrader`]) does everything
//! that is slow, up to the swap. The *agent* starts the upgrader, reads its [`report`]s, restarts
//! the service, and after that, as the new binary, confirms itself ([`probation`]). The *guard*
//! (`vmkit-agent rollback`, run by the previous binary, [`guard`]) rolls back a binary that is not confirmed.
//! They share the [`state`] file, in which each step is noted before it is taken.
//!
//! The table shows who acts on which event. "Agent" is an agent of the installed binary, old or new.
//!
//! | state | event | who acts | what happens | next state |
//! |---|---|---|---|---|
//! | nothing under way | `agent_upgrade` | agent | starts the upgrader | nothing under way |
//! | | `vmkit-agent upgrade` | upgrader | refuses a banned binary | nothing under way |
//! | | the lock is taken | upgrader | notes `unfinished` | unfinished |
//! | unfinished | download, checksum, signature or test fails | upgrader | removes its files | nothing under way |
//! | | 600 s are over, or the upgrader crashes | agent | kills the upgrader, runs `upgrade --clean-up` | nothing under way |
//! | | the agent ends, or a signal | upgrader | removes its files | nothing under way |
//! | | the agent starts | agent | cleans up, unless an upgrader holds the lock | nothing under way |
//! | | the new binary is staged and tested | upgrader | keeps the previous binary, notes `trial` | staged, not swapped |
//! | staged, not swapped | the guard can't be started, or the agent is gone | upgrader | calls off the guard | nothing under way |
//! | | the agent starts | agent (old) | forgets the trial, calls off the guard | nothing under way |
//! | | the guard watches | upgrader | swaps, then ends; the service is restarted | staged, swapped |
//! | staged, swapped | start 1 to 3 of the new binary | agent (new) | counts it; starts the guard again unless it is a unit of systemd's | staged, swapped |
//! | | the gateway accepts `register` | agent (new) | confirms: removes the trial, forgets roll-backs, stops the guard | nothing under way |
//! | | the gateway refuses `register` | agent (new) | notes `refused`, tries again | staged, swapped |
//! | | start 4 | agent (new) | notes the cause `crashed` | rolling back |
//! | | systemd has restarted it 3 times uncounted | guard | notes the cause `never_started` | rolling back |
//! | | probation is over | guard | notes `never_started`, `refused` or `unacknowledged` | rolling back |
//! | | a reboot | agent (new), or the guard of the boot | probation begins anew; that guard watches | staged, swapped |
//! | rolling back | holds the roll-back lock | guard or agent (new) | puts the previous binary back | rolled back |
//! | | the process is killed | guard (started again), or the next start | goes on with it | rolling back |
//! | | the gateway accepts `register` | agent (new) | too late: logs it | rolling back |
//! | | there is no previous binary | guard or agent (new) | the new binary stays, the trial is removed | nothing under way |
//! | rolled back | the previous binary is back | guard or agent (new) | restarts the service, or executes it | nothing under way |
//! | | `register` is accepted | agent (old) | reports `upgrade_rolled_back` once | nothing under way |

pub mod request;
mod order;
mod error;
pub mod report;
mod paths;
pub mod state;
pub mod store;
pub mod told;
mod binary;
mod roll_back;
mod guard;
mod leftovers;
pub mod probation;
mod upgrader;

pub use error::Error;
pub use guard::{Order, roll_back_command, stop_command};
pub use leftovers::{leftovers, memories};
pub use paths::{installed, installed_from_previous, previous};
pub use request::{Checksum, Request, Version};
pub use upgrader::{DEADLINE, REQUEST, by_hand, clean_up, supervised, swap};

#[cfg(test)]
mod tests;
