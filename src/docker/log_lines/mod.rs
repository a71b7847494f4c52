//! What `docker logs --timestamps` prints, turned back into the lines that were written.
//!
//! [`LaneParser`] reads one pipe, [`Merge`] puts the lines of both in order and in the wire's form.
//! Memory is bounded whatever a container printed.

mod line;
mod merge;
mod parser;

pub use line::{Lane, Line};
pub use merge::Merge;
pub use parser::LaneParser;
