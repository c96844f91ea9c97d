//! The borrowed view of one packet that every source gives and every output takes.
//!
//! * [`Packet`] and [`Timestamp`]: the view itself;
//! * [`link`]: what a frame begins with;
//! * [`tcp`]: the values of TCP's header.
//!
//! The crate is `no_std`, so that it has no I/O and no clock.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod link;
pub mod tcp;

pub use link::LinkType;

/// A point in time as tcpdump prints it: seconds since the epoch (UTC) and nanoseconds within the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// Nanoseconds, normally from 0 to 999 999 999. A file can claim any 32 bits, signed, of nano- or microseconds;
    /// it is then printed as tcpdump prints it.
    pub nanoseconds: i64,
}

/// One packet: what was captured of it, and what is known about the rest. Nothing is copied or allocated.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was seen.
    pub time: Timestamp,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// Length of the frame on the wire, in bytes; at least `data.len()` in anything well-formed.
    pub wire_len: u32,
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
}
