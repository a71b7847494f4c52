//! From TCP to HTTP.

pub mod serve;
pub mod tls;
