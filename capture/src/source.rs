//! Where packets come from.

pub mod file;
pub mod filter;
pub mod interface;
