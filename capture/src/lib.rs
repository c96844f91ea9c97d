//! `capture`: a packet tracer for production Linux servers.
//!
//! The path of a packet: [`kernel`] takes records out of the rings, or [`source`] reads a file, and each record is a
//! [`Packet`](capture_packet::Packet). [`capture_text`] formats it as lines, and what [`capture_flow`] makes of its
//! connection as comments between them; [`resolve`] finds names for addresses. [`writer`] writes the lines,
//! [`messages`] writes to standard error, both through [`blocking`], and [`summary`] formats the numbers at the end.
//! [`run`] connects these as [`config`] says, which comes from [`cli`], [`expression`] and [`ports`].

#![deny(unsafe_code)]

pub mod blocking;
pub mod cli;
pub mod config;
pub mod expression;
pub mod kernel;
pub mod messages;
pub mod ports;
pub mod resolve;
pub mod run;
pub mod source;
pub mod summary;
pub mod writer;
