//! What the gateway asks for. A request goes from its method's name ([`dispatch`]) to its handler
//! ([`handlers`]), and is in flight until it is answered ([`in_flight`]).

mod context;
pub mod dispatch;
pub mod handlers;
pub mod in_flight;
mod outcome;

pub use context::Context;

#[cfg(test)]
pub mod tests;
