//! `capture`: a packet tracer for production Linux servers.
//!
//! The way of a packet: [`source`] gives a [`packet`], [`text`] makes it lines.

#![deny(unsafe_code)]

pub mod packet;
pub mod ports;
pub mod source;
pub mod text;
