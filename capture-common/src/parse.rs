//! The parser: whether a frame is TCP, and where its headers begin, over any place a frame's bytes can be read from.
//!
//! TCP is what tcpdump's filter `tcp` takes for it, as `tcpdump -d` prints it: neither the IPv4 header's length nor its
//! version is checked; fragments count, with or without a TCP header; an IPv6 extension header other than that of a
//! fragment hides TCP. The one addition is that up to two VLAN tags are skipped, because live tcpdump sees frames whose
//! tag the kernel has already taken out. A tag that the kernel has taken out is one of the two, so that a frame gives one
//! answer, live and from a file.
//!
//! Which TCP packets are selected is not decided here: a filter comes before the parser.

use core::num::NonZeroUsize;

use crate::headers::{ethernet, ipv4, ipv6, tcp};

/// A frame whose bytes can be read at an offset, or not.
///
/// The kernel's implementations compare every read with the end of the packet, which is the only form in which the
/// verifier accepts it; a slice built over packet memory would not do.
pub trait Frame {
    /// The `N` bytes at `offset` from the start of the frame; `None` if the frame ends before `offset + N`.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// VLAN tags that stand before those in the bytes and have been taken out of them.
    #[inline(always)]
    fn stripped_tags(&self) -> usize {
        0
    }
}

impl Frame for [u8] {
    #[inline]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// Network-layer protocols that TCP is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Internet Protocol version 4.
    Ipv4,
    /// Internet Protocol version 6.
    Ipv6,
}

/// Where the layers of a TCP packet begin. Offsets are from the start of the frame, in bytes, and may lie beyond what
/// has been captured of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Which IP header it has, by what announces it: the version field may say something else.
    pub network: Network,
    /// Offset of the IP header.
    pub l3_offset: usize,
    /// Offset of the TCP header; `None` in a later fragment, which has none. Not zero, so that `None` is a zero: of an
    /// `Option` with a payload that is not there, the compiler copies the payload all the same, and verifiers before
    /// Linux 6.3 refuse to read what was not written.
    pub l4_offset: Option<NonZeroUsize>,
}

/// What the parser says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// It is TCP.
    Tcp {
        /// Where its layers begin.
        layers: Layers,
        /// Where the headers end: one past the last byte that a line without payload can depend on. That is the byte
        /// after the TCP header, because tcpdump reads the length of an option that begins on the header's last byte
        /// from there (print-tcp.c, `tcp_print`). The frame may end before it.
        headers_end: usize,
    },
    /// It is not TCP.
    Other,
    /// The frame ends before a field that the parser has to read.
    TooShort,
}

/// Parses a frame with an Ethernet header.
#[inline(always)]
pub fn locate_ethernet<F: Frame + ?Sized>(frame: &F) -> Location {
    let mut offset = ethernet::TYPE;
    let Some(ethertype) = frame.read(offset) else { return Location::TooShort };
    let mut ethertype = u16::from_be_bytes(ethertype);
    // Most frames are IPv4: they are not compared with three kinds of tags first.
    if ethertype != ethernet::TYPE_IPV4 {
        // A constant number of rounds, which the compiler unrolls. The verifiers of Linux 5.10 and 6.1 refuse a loop whose
        // end falls through to its head instead of jumping there (kernel/bpf/verifier.c, `push_insn`).
        let stripped = frame.stripped_tags();
        for tags in 0..ethernet::MAX_TAGS {
            if !ethernet::is_tag(ethertype) || stripped + tags >= ethernet::MAX_TAGS {
                break;
            }
            offset += ethernet::TAG_LENGTH;
            let Some(inner) = frame.read(offset) else { return Location::TooShort };
            ethertype = u16::from_be_bytes(inner);
        }
    }
    let l3_offset = offset + 2;
    match ethertype {
        ethernet::TYPE_IPV4 => locate_network(frame, Network::Ipv4, l3_offset),
        ethernet::TYPE_IPV6 => locate_network(frame, Network::Ipv6, l3_offset),
        _ => Location::Other,
    }
}

/// Parses a frame that begins with its IP header, as a tun device's do. The version field decides.
#[inline(always)]
pub fn locate_raw<F: Frame + ?Sized>(frame: &F) -> Location {
    let Some([version_ihl, _]) = frame.read(ipv4::VERSION_IHL) else { return Location::TooShort };
    match version_ihl >> 4 {
        4 => locate_network(frame, Network::Ipv4, 0),
        6 => locate_network(frame, Network::Ipv6, 0),
        _ => Location::Other,
    }
}

/// Parses the IP header at `l3_offset`, and what follows.
#[inline(always)]
pub fn locate_network<F: Frame + ?Sized>(frame: &F, network: Network, l3_offset: usize) -> Location {
    match network {
        Network::Ipv4 => locate_ipv4(frame, l3_offset),
        Network::Ipv6 => locate_ipv6(frame, l3_offset),
    }
}

#[inline(always)]
fn locate_ipv4<F: Frame + ?Sized>(frame: &F, l3_offset: usize) -> Location {
    let Some(header) = frame.read::<{ ipv4::PROTOCOL + 1 }>(l3_offset) else { return Location::TooShort };
    if header[ipv4::PROTOCOL] != tcp::PROTOCOL {
        return Location::Other;
    }
    let fragment = u16::from_be_bytes([header[ipv4::FRAGMENT], header[ipv4::FRAGMENT + 1]]);
    if fragment & ipv4::FRAGMENT_OFFSET_MASK != 0 {
        let layers = Layers { network: Network::Ipv4, l3_offset, l4_offset: None };
        return Location::Tcp { layers, headers_end: l3_offset + ipv4::MAX_LENGTH };
    }
    let header_length = usize::from(header[ipv4::VERSION_IHL] & 0x0f) * 4;
    locate_tcp(frame, Network::Ipv4, l3_offset, l3_offset + header_length)
}

#[inline(always)]
fn locate_ipv6<F: Frame + ?Sized>(frame: &F, l3_offset: usize) -> Location {
    let Some(next_header) = read_byte(frame, l3_offset + ipv6::NEXT_HEADER) else {
        return Location::TooShort;
    };
    let l4_offset = l3_offset + ipv6::LENGTH;
    if next_header == tcp::PROTOCOL {
        return locate_tcp(frame, Network::Ipv6, l3_offset, l4_offset);
    }
    // What a fragment header announces as TCP counts.
    if next_header != ipv6::NEXT_HEADER_FRAGMENT {
        return Location::Other;
    }
    let Some(next_header) = read_byte(frame, l4_offset) else { return Location::TooShort };
    if next_header != tcp::PROTOCOL {
        return Location::Other;
    }
    let l4_offset = l4_offset + ipv6::FRAGMENT_LENGTH;
    let offset = frame.read(l3_offset + ipv6::LENGTH + ipv6::FRAGMENT_OFFSET).map_or(0, u16::from_be_bytes);
    if offset & ipv6::FRAGMENT_OFFSET_MASK != 0 {
        let layers = Layers { network: Network::Ipv6, l3_offset, l4_offset: None };
        return Location::Tcp { layers, headers_end: l4_offset };
    }
    locate_tcp(frame, Network::Ipv6, l3_offset, l4_offset)
}

#[inline(always)]
fn locate_tcp<F: Frame + ?Sized>(
    frame: &F,
    network: Network,
    l3_offset: usize,
    l4_offset: usize,
) -> Location {
    let data_offset = match read_byte(frame, l4_offset + tcp::DATA_OFFSET) {
        Some(byte) => usize::from(byte >> 4) * 4,
        None => 0,
    };
    let header_length = if data_offset < tcp::MIN_LENGTH { tcp::MIN_LENGTH } else { data_offset };
    let layers = Layers { network, l3_offset, l4_offset: NonZeroUsize::new(l4_offset) };
    Location::Tcp { layers, headers_end: l4_offset + header_length + 1 }
}

/// The byte at `offset`, which is not 0. It is read together with the one before it: for a single byte the compiler
/// turns `start + 1 > end` into `start >= end`, from which the verifier does not learn that the byte is there.
#[inline(always)]
fn read_byte<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<u8> {
    let [_, byte] = frame.read(offset - 1)?;
    Some(byte)
}
