//! `capture`: a packet tracer for production Linux servers.
//!
//! The way of a packet: [`kernel`] takes records out of the rings, or [`source`] reads a file, and each is a
//! [`packet`]; [`text`] makes it lines, [`explain`] puts comments between them, [`resolve`] finds names for addresses;
//! [`writer`] writes them, [`messages`] is what is said on standard error, and [`summary`] what is said last; all writes
//! are those of [`blocking`]. [`run`] holds it together, as [`config`] says, which is made from [`cli`] and [`ports`].

#![deny(unsafe_code)]

pub mod blocking;
pub mod cli;
pub mod config;
pub mod explain;
pub mod expression;
pub mod kernel;
pub mod messages;
pub mod packet;
pub mod ports;
#[cfg(test)]
mod random;
pub mod resolve;
pub mod run;
pub mod source;
pub mod summary;
pub mod text;
pub mod writer;
