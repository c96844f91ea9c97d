//! The tcpdump printer: a packet in, lines of text out. No I/O, no clock, no `unsafe`.

pub mod options;
