//! The parser and the filter, over any place a frame's bytes can be read from.
//!
//! What is selected is what tcpdump's filter `tcp` (no ports) or `tcp port N` selects, instruction for instruction as
//! `tcpdump -d` prints it: the IPv4 header length is honoured but neither it nor the version is checked; later
//! fragments do not match a port; an IPv6 extension header hides the TCP header; a source port that matches is
//! enough even where the frame ends before the destination port. The one addition is that up to two VLAN tags are skipped,
//! because live tcpdump sees frames whose tag the kernel has already taken out. A tag that the kernel has taken out is one
//! of the two, so that a frame gives one answer, live and from a file.

use crate::{
    headers::{ethernet, ipv4, ipv6, tcp},
    ports::Ports,
};

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

/// Where the layers of a selected packet begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Offset of the IP header from the start of the frame, in bytes.
    pub l3_offset: usize,
    /// Offset of the TCP header from the start of the frame, in bytes; 0 in a fragment that has none.
    pub l4_offset: usize,
    /// Where the headers end: one past the last byte that a line without payload can depend on. That is the byte
    /// after the TCP header, because tcpdump reads the length of an option that begins on the header's last byte
    /// from there (print-tcp.c, `tcp_print`). The frame may end before it.
    pub headers_end: usize,
}

/// What the filter says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Selected.
    Match(Layers),
    /// Not selected.
    Other,
    /// The frame ends before a field that the filter has to read: not selected.
    TooShort,
}

/// Network-layer protocols the filter knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Internet Protocol version 4.
    Ipv4,
    /// Internet Protocol version 6.
    Ipv6,
}

/// Runs the filter over a frame with an Ethernet header.
#[inline(always)]
pub fn select_ethernet<F: Frame + ?Sized, P: Ports>(frame: &F, ports: &P) -> Selection {
    let mut offset = ethernet::TYPE;
    let Some(ethertype) = frame.read(offset) else { return Selection::TooShort };
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
            let Some(inner) = frame.read(offset) else { return Selection::TooShort };
            ethertype = u16::from_be_bytes(inner);
        }
    }
    let l3_offset = offset + 2;
    match ethertype {
        ethernet::TYPE_IPV4 => select_network(frame, Network::Ipv4, l3_offset, ports),
        ethernet::TYPE_IPV6 => select_network(frame, Network::Ipv6, l3_offset, ports),
        _ => Selection::Other,
    }
}

/// Runs the filter over a frame that begins with its IP header, as a tun device's do. The version field decides.
#[inline(always)]
pub fn select_raw<F: Frame + ?Sized, P: Ports>(frame: &F, ports: &P) -> Selection {
    let Some([version_ihl, _]) = frame.read(ipv4::VERSION_IHL) else { return Selection::TooShort };
    match version_ihl >> 4 {
        4 => select_network(frame, Network::Ipv4, 0, ports),
        6 => select_network(frame, Network::Ipv6, 0, ports),
        _ => Selection::Other,
    }
}

/// Runs the filter from the IP header at `l3_offset` on.
#[inline(always)]
pub fn select_network<F: Frame + ?Sized, P: Ports>(
    frame: &F,
    network: Network,
    l3_offset: usize,
    ports: &P,
) -> Selection {
    match network {
        Network::Ipv4 => select_ipv4(frame, l3_offset, ports),
        Network::Ipv6 => select_ipv6(frame, l3_offset, ports),
    }
}

#[inline(always)]
fn select_ipv4<F: Frame + ?Sized, P: Ports>(frame: &F, l3_offset: usize, ports: &P) -> Selection {
    let Some(header) = frame.read::<{ ipv4::PROTOCOL + 1 }>(l3_offset) else { return Selection::TooShort };
    if header[ipv4::PROTOCOL] != tcp::PROTOCOL {
        return Selection::Other;
    }
    let header_length = usize::from(header[ipv4::VERSION_IHL] & 0x0f) * 4;
    let l4_offset = l3_offset + header_length;
    let fragment = u16::from_be_bytes([header[ipv4::FRAGMENT], header[ipv4::FRAGMENT + 1]]);
    if fragment & ipv4::FRAGMENT_OFFSET_MASK != 0 {
        if !ports.any() {
            return Selection::Other;
        }
        let headers_end = l3_offset + ipv4::MAX_LENGTH;
        return Selection::Match(Layers { l3_offset, l4_offset: 0, headers_end });
    }
    select_tcp(frame, l3_offset, l4_offset, ports)
}

#[inline(always)]
fn select_ipv6<F: Frame + ?Sized, P: Ports>(frame: &F, l3_offset: usize, ports: &P) -> Selection {
    let Some(next_header) = read_byte(frame, l3_offset + ipv6::NEXT_HEADER) else {
        return Selection::TooShort;
    };
    let l4_offset = l3_offset + ipv6::LENGTH;
    if next_header == tcp::PROTOCOL {
        return select_tcp(frame, l3_offset, l4_offset, ports);
    }
    // `tcp` without a port also selects what a fragment header announces as TCP.
    if next_header != ipv6::NEXT_HEADER_FRAGMENT || !ports.any() {
        return Selection::Other;
    }
    let Some(next_header) = read_byte(frame, l4_offset) else { return Selection::TooShort };
    if next_header != tcp::PROTOCOL {
        return Selection::Other;
    }
    let l4_offset = l4_offset + ipv6::FRAGMENT_LENGTH;
    let offset = frame.read(l3_offset + ipv6::LENGTH + ipv6::FRAGMENT_OFFSET).map_or(0, u16::from_be_bytes);
    if offset & ipv6::FRAGMENT_OFFSET_MASK != 0 {
        return Selection::Match(Layers { l3_offset, l4_offset: 0, headers_end: l4_offset });
    }
    select_tcp(frame, l3_offset, l4_offset, ports)
}

#[inline(always)]
fn select_tcp<F: Frame + ?Sized, P: Ports>(
    frame: &F,
    l3_offset: usize,
    l4_offset: usize,
    ports: &P,
) -> Selection {
    if !ports.any() {
        match frame.read::<4>(l4_offset) {
            Some([s1, s0, d1, d0]) => {
                let (source, destination) = (u16::from_be_bytes([s1, s0]), u16::from_be_bytes([d1, d0]));
                if !ports.contains(source) && !ports.contains(destination) {
                    return Selection::Other;
                }
            }
            None => match frame.read(l4_offset) {
                Some(source) if ports.contains(u16::from_be_bytes(source)) => {}
                _ => return Selection::TooShort,
            },
        }
    }
    let data_offset = match read_byte(frame, l4_offset + tcp::DATA_OFFSET) {
        Some(byte) => usize::from(byte >> 4) * 4,
        None => 0,
    };
    let header_length = if data_offset < tcp::MIN_LENGTH { tcp::MIN_LENGTH } else { data_offset };
    Selection::Match(Layers { l3_offset, l4_offset, headers_end: l4_offset + header_length + 1 })
}

/// The byte at `offset`, which is not 0. It is read together with the one before it: for a single byte the compiler
/// turns `start + 1 > end` into `start >= end`, from which the verifier does not learn that the byte is there.
#[inline(always)]
fn read_byte<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<u8> {
    let [_, byte] = frame.read(offset - 1)?;
    Some(byte)
}
