//! The reference gateway of vmkit-agent: a control plane in small, to try an agent against, to look at
//! and to read. It is no part of the agent and shares no code with it: it is a judge, and says so
//! (`violation`) when an agent departs from the protocol.
//!
//! ```text
//! agent ── /api/daemon ──> agents/   sessions, the fleet's state, requests to agents
//! REST  ── /api/…      ──> api/      handlers, problems, the description of all paths
//! people ─ /           ──> page/     the fleet to look at, signed in by a key
//! MCP   ── /mcp        ──> mcp/      tools for assistants, which only read
//!                          access/   API keys, agent tokens, scopes
//!                          store/    SQLite: instances, events, history, keys
//!                          net/      TCP, TLS, limits of connections
//! gateway check  ──>       check/    the conformance kit, with a server of its own
//! ```
//!
//! - `run` starts all of it, keeps it up and ends it; `gateway` what all parts share
//! - `arguments` the command line; `commands` standard input; `output` the lines on standard output;
//!   `clock` the time

#![forbid(unsafe_code)]

pub mod access;
pub mod agents;
pub mod api;
pub mod arguments;
pub mod check;
pub mod clock;
pub mod commands;
pub mod gateway;
pub mod mcp;
pub mod net;
pub mod output;
pub mod page;
pub mod run;
pub mod store;
