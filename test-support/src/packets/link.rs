//! Link-layer headers.

use super::byte_order::ByteOrder;

/// A link type that both programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// BSD loopback: the address family in the byte order of the machine.
    Null,
    /// Ethernet.
    Ethernet,
    /// IPv4 or IPv6, by the version in the packet.
    Raw,
    /// OpenBSD loopback: the address family in network byte order.
    Loop,
    /// Linux "cooked".
    Sll,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Linux "cooked", version 2.
    Sll2,
}

/// All of them.
pub const LINKS: [Link; 8] =
    [Link::Null, Link::Ethernet, Link::Raw, Link::Loop, Link::Sll, Link::Ipv4, Link::Ipv6, Link::Sll2];

/// The type of IPv4 in Ethernet.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The type of IPv6 in Ethernet.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The VLAN of the tags of [`frame`].
const VLAN: u16 = 5;

impl Link {
    /// The `LINKTYPE_` number.
    pub fn number(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::Sll => 113,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::Sll2 => 276,
        }
    }
}

/// An Ethernet header with VLAN tags, each its type and its control field (priority, DEI, VLAN).
pub fn ethernet(destination: [u8; 6], source: [u8; 6], tags: &[(u16, u16)], ethertype: u16) -> Vec<u8> {
    let mut header = [destination, source].concat();
    for (tag, control) in tags {
        header.extend(tag.to_be_bytes());
        header.extend(control.to_be_bytes());
    }
    header.extend(ethertype.to_be_bytes());
    header
}

/// The Ethernet frame of an IP packet, with VLAN tags of these types.
pub fn frame(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let tags: Vec<_> = tags.iter().map(|tag| (*tag, VLAN)).collect();
    let ethertype = if is_v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    [ethernet([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1], &tags, ethertype), packet.to_vec()].concat()
}

/// A BSD loopback header: the address family as the capturing machine writes it.
pub fn null(family: u32, order: ByteOrder) -> Vec<u8> {
    match order {
        ByteOrder::Little => family.to_le_bytes().to_vec(),
        ByteOrder::Big => family.to_be_bytes().to_vec(),
    }
}

/// A Linux "cooked" header: packet type, ARPHRD type, link-layer address, protocol.
pub fn sll(packet_type: u16, hardware: u16, address: &[u8], protocol: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(16);
    header.extend(packet_type.to_be_bytes());
    header.extend(hardware.to_be_bytes());
    header.extend((address.len() as u16).to_be_bytes());
    header.extend(address.iter().take(8));
    header.resize(14, 0);
    header.extend(protocol.to_be_bytes());
    header
}

/// A Linux "cooked" header, version 2: protocol, interface, ARPHRD type, packet type, link-layer address.
pub fn sll2(protocol: u16, ifindex: u32, hardware: u16, packet_type: u8, address: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(20);
    header.extend(protocol.to_be_bytes());
    header.extend([0, 0]);
    header.extend(ifindex.to_be_bytes());
    header.extend(hardware.to_be_bytes());
    header.extend([packet_type, address.len() as u8]);
    header.extend(address.iter().take(8));
    header.resize(20, 0);
    header
}
