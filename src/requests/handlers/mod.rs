//! One room for each RPC: its parameters, what it starts, how its result is made.

pub mod agent_upgrade;
pub mod logs_fetch;
pub mod metrics_collect;
pub mod register;

pub use logs_fetch::LogsFetch;
