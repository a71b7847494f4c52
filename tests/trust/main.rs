//! Another user of the machine, or a state that an older version has left, can make the agent do
//! nothing. Each attack is carried out for real, by user 65534, on the real program run by root.
//!
//! Every test is a machine of its own ([`cell`]), without an init system unless it fakes one.

use vmkit_test_support as support;

mod cell;
mod golden;
mod guard;
mod site;
mod stranger;

mod false_words;
mod guarded;
mod held_locks;
mod not_the_agent;
mod occupied_tmp;
mod old_pids;
mod old_states;
mod written_states;
