//! Which containers there are, by `docker ps`, and how they are, by `docker inspect`: arguments out,
//! output in. Output is read line by line as it comes, and memory is bounded whatever is printed.
//! Pure.

mod lines;
mod listing;
mod inspection;

pub use inspection::{Container, Health, Inspected, Inspection, inspect_arguments};
pub use listing::{Listed, Listing, ps_arguments};

#[cfg(test)]
mod tests;
