//! What the gateway asks for. A request goes from its method's name ([`dispatch`]) to its handler
//! ([`handlers`]), and is in flight until it is answered ([`in_flight`]).

mod asked;
mod context;
pub mod dispatch;
pub mod followers;
pub mod handlers;
pub mod in_flight;
mod outcome;

pub use asked::{Asked, refuse};
pub use context::Context;

#[cfg(test)]
pub mod tests;
