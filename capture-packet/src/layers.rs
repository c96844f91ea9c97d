//! Where a packet's headers begin, for each link type.

use capture_common::{
    headers::ethernet,
    parse::{Frame as _, Layers, Location, Network, locate_ethernet, locate_network},
};

use crate::{
    LinkType,
    link::{bsd_loopback, linux_sll, linux_sll2},
};

/// Where the layers of a TCP packet begin, for each link type as tcpdump's printers take it. `None` where that is not
/// TCP over IP, or where the captured bytes end before it is known.
#[inline]
pub fn locate(link_type: LinkType, frame: &[u8]) -> Option<Layers> {
    match location(link_type, frame) {
        Location::Tcp { layers, .. } => Some(layers),
        Location::Other | Location::TooShort => None,
    }
}

/// Parses a frame of any link type, which is taken as tcpdump's printers take it: they go by the version
/// field where there is no link header, and find out the byte order of an address family by themselves.
#[inline]
pub fn location(link_type: LinkType, frame: &[u8]) -> Location {
    if link_type == LinkType::Ethernet {
        return locate_ethernet(frame);
    }
    match network_layer(link_type, frame) {
        Some((network, l3_offset)) => locate_network(frame, network, l3_offset),
        None => Location::Other,
    }
}

/// The IP header after a link header other than Ethernet's, and its offset.
fn network_layer(link_type: LinkType, frame: &[u8]) -> Option<(Network, usize)> {
    let by_ethertype = |at: usize, l3_offset| match u16::from_be_bytes(frame.read(at)?) {
        ethernet::TYPE_IPV4 => Some((Network::Ipv4, l3_offset)),
        ethernet::TYPE_IPV6 => Some((Network::Ipv6, l3_offset)),
        _ => None,
    };
    match link_type {
        LinkType::Ethernet => None,
        LinkType::Raw | LinkType::Ipv4 | LinkType::Ipv6 => match frame.first()? >> 4 {
            4 => Some((Network::Ipv4, 0)),
            6 => Some((Network::Ipv6, 0)),
            _ => None,
        },
        LinkType::Null | LinkType::Loop => {
            // Families are small numbers: one that is not was written in the other byte order.
            let family = u32::from_be_bytes(frame.read(0)?);
            let family = if family >> 16 != 0 { family.swap_bytes() } else { family };
            match family {
                bsd_loopback::AF_INET => Some((Network::Ipv4, bsd_loopback::LENGTH)),
                family if bsd_loopback::AF_INET6.contains(&family) => {
                    Some((Network::Ipv6, bsd_loopback::LENGTH))
                }
                _ => None,
            }
        }
        LinkType::LinuxSll => by_ethertype(linux_sll::PROTOCOL, linux_sll::LENGTH),
        LinkType::LinuxSll2 => by_ethertype(linux_sll2::PROTOCOL, linux_sll2::LENGTH),
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroUsize;

    use super::*;

    /// The IPv4 header of a packet with 20 bytes of TCP, and the header of IPv6.
    const IPV4: [u8; 40] = {
        let mut packet = [0; 40];
        (packet[0], packet[3], packet[9], packet[32]) = (0x45, 40, 6, 0x50);
        packet
    };
    const IPV6: [u8; 60] = {
        let mut packet = [0; 60];
        (packet[0], packet[5], packet[6], packet[52]) = (0x60, 20, 6, 0x50);
        packet
    };

    fn located(link_type: LinkType, header: &[u8], packet: &[u8]) -> Option<Layers> {
        locate(link_type, &[header, packet].concat())
    }

    #[test]
    fn every_link_type() {
        let ethernet = |types: &[u16]| {
            let mut header = vec![0; 12];
            for ethertype in types {
                header.extend(ethertype.to_be_bytes());
                header.extend([0, 5]);
            }
            header.truncate(header.len() - 2);
            header
        };
        let (v4, v6) = (&IPV4[..], &IPV6[..]);
        let sll = [&[0; 14][..], &[0x08, 0]].concat();
        let sll2 = [&[0x86, 0xdd][..], &[0; 18]].concat();
        for (link_type, header, packet) in [
            (LinkType::Raw, vec![], v4),
            (LinkType::Raw, vec![], v6),
            // The version field decides, whatever the link type says.
            (LinkType::Ipv4, vec![], v4),
            (LinkType::Ipv4, vec![], v6),
            (LinkType::Ipv6, vec![], v4),
            (LinkType::Null, vec![2, 0, 0, 0], v4),
            (LinkType::Null, vec![0, 0, 0, 30], v6),
            (LinkType::Loop, vec![0, 0, 0, 2], v4),
            (LinkType::Loop, vec![28, 0, 0, 0], v6),
            (LinkType::LinuxSll, sll.clone(), v4),
            (LinkType::LinuxSll2, sll2.clone(), v6),
            (LinkType::Ethernet, ethernet(&[0x0800]), v4),
            (LinkType::Ethernet, ethernet(&[0x8100, 0x86dd]), v6),
            (LinkType::Ethernet, ethernet(&[0x88a8, 0x8100, 0x0800]), v4),
        ] {
            let (network, length) =
                if packet[0] >> 4 == 4 { (Network::Ipv4, 20) } else { (Network::Ipv6, 40) };
            let l3_offset = header.len();
            let expected = Layers { network, l3_offset, l4_offset: NonZeroUsize::new(l3_offset + length) };
            assert_eq!(located(link_type, &header, packet), Some(expected), "{link_type:?} {header:02x?}");
            for cut in 0..l3_offset {
                assert_eq!(locate(link_type, &header[..cut]), None, "{link_type:?} {cut}");
            }
        }
        for (link_type, header) in [
            (LinkType::Ethernet, ethernet(&[0x0806])),
            (LinkType::Ethernet, ethernet(&[0x8100, 0x8100, 0x8100, 0x0800])),
            (LinkType::LinuxSll, vec![0; 16]),
            (LinkType::LinuxSll2, vec![0; 20]),
            (LinkType::Null, vec![3, 0, 0, 0]),
            (LinkType::Raw, vec![0x55; 20]),
        ] {
            assert_eq!(located(link_type, &header, v4), None, "{link_type:?} {header:02x?}");
        }
    }

    #[test]
    fn a_later_fragment_has_no_tcp_header() {
        let mut fragment = IPV4;
        fragment[7] = 3;
        let expected = Layers { network: Network::Ipv4, l3_offset: 0, l4_offset: None };
        assert_eq!(locate(LinkType::Raw, &fragment), Some(expected));
    }

    /// The TCP header itself need not have been captured.
    #[test]
    fn offsets_may_lie_beyond_the_captured_bytes() {
        let expected = Layers { network: Network::Ipv4, l3_offset: 0, l4_offset: NonZeroUsize::new(20) };
        assert_eq!(locate(LinkType::Raw, &IPV4[..10]), Some(expected));
        assert_eq!(locate(LinkType::Raw, &IPV4[..9]), None);
    }
}
