//! "Frames and sizes".

use super::super::check::{Check, checks};

pub const CHECKS: &[Check] = checks![];
