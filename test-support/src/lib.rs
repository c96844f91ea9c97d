//! What the tests of several crates share. No product code depends on it.

#![forbid(unsafe_code)]

pub mod random;
