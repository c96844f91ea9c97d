//! What the tests of several crates share, and `lab`. No product code depends on it.

#![deny(unsafe_code)]

#[cfg(feature = "machine")]
pub mod bpf;
pub mod expressions;
#[cfg(feature = "machine")]
pub mod namespace;
#[cfg(feature = "machine")]
pub mod oracle;
pub mod packets;
#[cfg(feature = "machine")]
pub mod process;
pub mod random;
pub mod sketch;
#[cfg(feature = "machine")]
pub mod wait;
