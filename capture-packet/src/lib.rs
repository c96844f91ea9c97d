//! The borrowed view of one packet that every source gives and every output takes.
//!
//! * [`Packet`], with its [`Timestamp`], its [`Direction`] and the [`SourceId`] of its interface: the view itself;
//! * [`link`]: what a frame begins with;
//! * [`layers`]: where its headers begin;
//! * [`tcp`]: the values of TCP's header.
//!
//! The crate is `no_std`, so that it has no I/O and no clock.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod layers;
pub mod link;
pub mod tcp;

use capture_common::{parse::Layers, record::packet_type};

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

/// What a time is cut off to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Microseconds.
    #[default]
    Micro,
    /// Nanoseconds.
    Nano,
}

impl Precision {
    /// How many units there are in a second.
    #[inline]
    pub const fn per_second(self) -> u64 {
        match self {
            Self::Micro => 1_000_000,
            Self::Nano => 1_000_000_000,
        }
    }
}

/// Which interface of its source a packet was seen on: an index into the source's list of interfaces. A live capture
/// lists the interfaces that it is attached to, a pcapng file those it describes, through all of its sections; a pcap
/// file has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Which way a packet went, seen from the machine that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came in: to this machine, to a group, or to another machine.
    In,
    /// It went out.
    Out,
}

impl Direction {
    /// What the packet type in the header of a "cooked" frame says (packet(7), `sll_pkttype`). Other link types say
    /// nothing.
    #[inline]
    pub fn of_cooked(link_type: LinkType, frame: &[u8]) -> Option<Self> {
        let packet_type = match link_type {
            LinkType::LinuxSll => {
                u16::from_be_bytes(*frame.get(link::linux_sll::PACKET_TYPE..)?.first_chunk()?)
            }
            LinkType::LinuxSll2 => u16::from(*frame.get(link::linux_sll2::PACKET_TYPE)?),
            _ => return None,
        };
        Self::of_packet_type(packet_type)
    }

    /// What the kernel's packet type says (linux/if_packet.h): to this machine, to all, to a group or to another machine
    /// (0 to 3), or outgoing (4). The other types are not of a packet's way.
    #[inline]
    pub const fn of_packet_type(packet_type: u16) -> Option<Self> {
        match packet_type {
            0..=3 => Some(Self::In),
            4 => Some(Self::Out),
            _ => None,
        }
    }
}

/// One packet: what was captured of it, and what is known about the rest. Nothing is copied or allocated.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where it was seen.
    pub source: SourceId,
    /// The index of that interface in the kernel that captured it; 0 where it is not known, as of files.
    pub ifindex: u32,
    /// Which way it went, if that is known.
    pub direction: Option<Direction>,
    /// To whom it was addressed, or that it went out, as a live capture's records have it: one of
    /// [`packet_type`], `UNKNOWN` where nothing says it.
    pub packet_type: u8,
    /// When it was seen.
    pub time: Timestamp,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// Where its IP and TCP headers begin, found once for all who read them. `None` where it is not known that it has
    /// any: it is not TCP over IP, or it was cut off before, or nothing has located them.
    pub layers: Option<Layers>,
    /// Length of the frame on the wire, in bytes; at least `data.len()` in anything well-formed.
    pub wire_len: u32,
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A packet of a source's first interface, of which neither the direction nor the layers are known.
    #[inline]
    pub const fn new(time: Timestamp, link_type: LinkType, wire_len: u32, data: &'a [u8]) -> Self {
        Self {
            source: SourceId(0),
            ifindex: 0,
            direction: None,
            packet_type: packet_type::UNKNOWN,
            time,
            link_type,
            layers: None,
            wire_len,
            data,
        }
    }

    /// The same with its layers [located](layers::locate).
    #[inline]
    #[must_use]
    pub fn located(self) -> Self {
        Self { layers: layers::locate(self.link_type, self.data), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cooked_frame_has_its_direction_in_its_packet_type() {
        for (packet_type, expected) in [
            (0, Some(Direction::In)),
            (1, Some(Direction::In)),
            (2, Some(Direction::In)),
            (3, Some(Direction::In)),
            (4, Some(Direction::Out)),
            (5, None),
        ] {
            let mut frame = [0; 20];
            frame[1] = packet_type;
            assert_eq!(Direction::of_cooked(LinkType::LinuxSll, &frame), expected);
            assert_eq!(Direction::of_cooked(LinkType::Ethernet, &frame), None);
            (frame[1], frame[10]) = (9, packet_type);
            assert_eq!(Direction::of_cooked(LinkType::LinuxSll2, &frame), expected);
        }
        assert_eq!(Direction::of_cooked(LinkType::LinuxSll, &[0]), None);
        assert_eq!(Direction::of_cooked(LinkType::LinuxSll2, &[0; 10]), None);
    }
}
