//! The page over HTTP, without a browser: who gets in and how that ends, what other sites can't do, what
//! the answers say to a browser, and that what agents say stays text.

#![forbid(unsafe_code)]

mod support;

mod large_fleet;
mod pages;
mod sign_in;
mod stream;
mod tls;
mod upgrade;
