//! What the tests of several crates share, and `lab`. No product code depends on it.

#![deny(unsafe_code)]

pub mod bpf;
pub mod expressions;
pub mod namespace;
pub mod oracle;
pub mod packets;
pub mod process;
pub mod random;
pub mod sketch;
pub mod wait;
