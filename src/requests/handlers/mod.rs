//! A file for each method: its parameters, what it starts, how its result is made.

pub mod agent_upgrade;
pub mod logs_cancel;
pub mod logs_fetch;
pub mod metrics_collect;
pub mod register;
pub mod snapshots;
