//! The agents: their sessions, what they said, and what is asked of them.
//!
//! - `rpc` the wire types; `register`, `snapshot` what an agent says, bounded; `health` what is wrong by it
//! - `fleet` the one place where an instance's state changes; `upgrade`, `events` its parts;
//!   `status` whether it is connected; `rank` what is wrong with it; `view` how it is shown
//! - `session` one agent's WebSocket; `registry` the fleet as it is now and the way to each session;
//!   `daemon` the path that agents dial
//! - `calls` what others ask of an agent; `tail` a container's lines on their way; `search` a text in
//!   them; `poll` when

pub mod calls;
pub mod daemon;
pub mod events;
pub mod fleet;
pub mod health;
pub mod poll;
pub mod rank;
pub mod register;
pub mod registry;
pub mod rpc;
pub mod search;
pub mod session;
pub mod snapshot;
pub mod status;
pub mod tail;
pub mod upgrade;
pub mod view;
