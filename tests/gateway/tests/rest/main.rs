//! REST, access and the store of the gateway, tried on the real binary over real connections: each test
//! starts its own `gateway`, on a port and in a folder of its own, with agents that play their part over
//! WebSockets.

#![forbid(unsafe_code)]

mod support;

mod access;
mod events;
mod history;
mod instances;
mod killed;
mod limits;
mod liveness;
mod logs;
mod problems;
mod restart;
mod schemathesis;
mod upgrade;
