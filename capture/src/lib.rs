//! `capture`: a packet tracer for production Linux servers.
//!
//! The path of a packet: [`kernel`] takes records out of the rings, or [`source`] reads a file, and each record is a
//! [`Packet`](capture_packet::Packet). [`engine`] hands it to each [`output`], whose encoder makes lines of it (by
//! [`capture_text`]), with comments on the events of
//! [`capture_flow`] between them and the names of [`resolve`], and whose destination writes them. [`messages`] writes to standard error, both through [`blocking`], and [`summary`] formats the numbers at
//! the end. [`run`] drives the engine as [`config`] says, which comes from [`cli`], [`filter`] and [`ports`], with the numbers of [`lookup`]; what parses a file is in a [`sandbox`], and what takes power later is
//! in a [`process`] of its own.

#![deny(unsafe_code)]

pub mod blocking;
pub mod cli;
pub mod config;
pub mod engine;
pub mod etc;
pub mod filter;
pub mod kernel;
pub mod lookup;
pub mod messages;
pub mod output;
pub mod pcapng;
pub mod ports;
pub mod process;
pub mod resolve;
pub mod run;
pub mod sandbox;
pub mod source;
pub mod summary;
