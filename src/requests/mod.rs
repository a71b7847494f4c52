//! What the gateway asks for: from a request to its handler, and the requests in flight.

pub mod dispatch;
pub mod handlers;
pub mod in_flight;
