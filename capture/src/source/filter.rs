//! Which packets of a file are printed.
//!
//! What is selected is what `tcpdump -r FILE tcp port N` selects (for several ports: `tcp port N or tcp port M`),
//! with one addition, the same as live: on Ethernet up to two VLAN tags are skipped. With one port, tcpdump's
//! expression for that is `tcp port N or (vlan and (tcp port N or (vlan and tcp port N)))`.

use capture_common::{
    headers::ethernet,
    parse::{Frame, Network, Selection, select_ethernet, select_network, select_raw},
    ports::Ports,
};
use capture_packet::{
    LinkType, Packet,
    link::{bsd_loopback, linux_sll, linux_sll2},
};

use crate::source::file::ByteOrder;

/// Runs the filter over a packet of a file whose byte order is `byte_order`.
#[inline]
pub fn select<P: Ports>(packet: &Packet<'_>, byte_order: ByteOrder, ports: &P) -> Selection {
    let frame = packet.data;
    match packet.link_type {
        LinkType::Ethernet => select_ethernet(frame, ports),
        LinkType::Raw => select_raw(frame, ports),
        // The version field is not read: the link type has said it (gencode.c, gen_linktype).
        LinkType::Ipv4 => select_network(frame, Network::Ipv4, 0, ports),
        LinkType::Ipv6 => select_network(frame, Network::Ipv6, 0, ports),
        LinkType::Null => select_family(
            frame,
            |family| match byte_order {
                ByteOrder::Little => u32::from_le_bytes(family),
                ByteOrder::Big => u32::from_be_bytes(family),
            },
            ports,
        ),
        LinkType::Loop => select_family(frame, u32::from_be_bytes, ports),
        LinkType::LinuxSll => select_cooked(frame, linux_sll::PROTOCOL, linux_sll::LENGTH, ports),
        LinkType::LinuxSll2 => select_cooked(frame, linux_sll2::PROTOCOL, linux_sll2::LENGTH, ports),
    }
}

/// BSD loopback. Only the file's own byte order counts here, though the printer takes either, and for IPv6 only the
/// numbers the BSDs gave it (gencode.c, gen_linktype).
fn select_family<P: Ports>(frame: &[u8], read: impl Fn([u8; 4]) -> u32, ports: &P) -> Selection {
    let Some(family) = frame.read(0) else { return Selection::TooShort };
    match read(family) {
        bsd_loopback::AF_INET => select_network(frame, Network::Ipv4, bsd_loopback::LENGTH, ports),
        family if bsd_loopback::AF_INET6.contains(&family) => {
            select_network(frame, Network::Ipv6, bsd_loopback::LENGTH, ports)
        }
        _ => Selection::Other,
    }
}

/// Linux "cooked" frames, with an Ethernet type at offset `protocol`.
fn select_cooked<P: Ports>(frame: &[u8], protocol: usize, l3_offset: usize, ports: &P) -> Selection {
    let Some(ethertype) = frame.read(protocol) else { return Selection::TooShort };
    match u16::from_be_bytes(ethertype) {
        ethernet::TYPE_IPV4 => select_network(frame, Network::Ipv4, l3_offset, ports),
        ethernet::TYPE_IPV6 => select_network(frame, Network::Ipv6, l3_offset, ports),
        _ => Selection::Other,
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::Timestamp;

    use super::*;
    use crate::ports::{PortList, PortSet};

    fn selected(link_type: LinkType, byte_order: ByteOrder, headers: &[u8], port: &str) -> bool {
        let ports: PortSet = [port.parse::<PortList>().unwrap()].iter().collect();
        let packet = Packet::new(Timestamp::default(), link_type, 0, headers);
        matches!(select(&packet, byte_order, &ports), Selection::Match(_))
    }

    /// An IPv4 header with TCP from port 0x22b8 (8888) to port 0x0102 after it.
    const IPV4: [u8; 24] =
        [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x22, 0xb8, 1, 2];

    fn ipv6() -> Vec<u8> {
        let mut packet = vec![0; 44];
        (packet[0], packet[6]) = (0x60, 6);
        packet[40..].copy_from_slice(&IPV4[20..]);
        packet
    }

    /// What tcpdump's filter compiles to for each link type (`tcpdump -d -r FILE tcp port 8888`).
    #[test]
    fn each_link_type_finds_the_ports() {
        let (little, big) = (ByteOrder::Little, ByteOrder::Big);
        let tagged = |types: &[u16]| {
            let types = types.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 5]]).flatten();
            [vec![0; 12], types.collect()].concat()
        };
        let (ipv4, ipv6) = (IPV4.to_vec(), ipv6());
        let mut ethernet = vec![0; 12];
        ethernet.extend([0x08, 0]);
        let mut single = tagged(&[0x8100]);
        single.extend([0x08, 0]);
        let mut double = tagged(&[0x88a8, 0x9100]);
        double.extend([0x86, 0xdd]);
        let mut triple = tagged(&[0x8100, 0x8100, 0x8100]);
        triple.extend([0x08, 0]);
        let mut cooked = vec![0; 14];
        cooked.extend([0x08, 0]);
        let mut cooked2 = vec![0x86, 0xdd];
        cooked2.resize(20, 0);
        for (link_type, order, header, body, expected) in [
            (LinkType::Ethernet, little, ethernet, &ipv4, true),
            (LinkType::Ethernet, little, single, &ipv4, true),
            (LinkType::Ethernet, little, double, &ipv6, true),
            (LinkType::Ethernet, little, triple, &ipv4, false),
            (LinkType::Raw, little, vec![], &ipv4, true),
            (LinkType::Raw, little, vec![], &ipv6, true),
            (LinkType::Ipv4, little, vec![], &ipv4, true),
            (LinkType::Ipv6, little, vec![], &ipv6, true),
            (LinkType::Ipv6, little, vec![], &ipv4, false),
            (LinkType::Null, little, vec![2, 0, 0, 0], &ipv4, true),
            (LinkType::Null, big, vec![2, 0, 0, 0], &ipv4, false),
            (LinkType::Null, big, vec![0, 0, 0, 2], &ipv4, true),
            (LinkType::Null, little, vec![24, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![28, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![30, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![10, 0, 0, 0], &ipv6, false),
            (LinkType::Null, little, vec![2, 0, 0], &vec![], false),
            (LinkType::Loop, little, vec![0, 0, 0, 2], &ipv4, true),
            (LinkType::Loop, little, vec![0, 0, 0, 30], &ipv6, true),
            (LinkType::Loop, little, vec![2, 0, 0, 0], &ipv4, false),
            (LinkType::LinuxSll, little, cooked, &ipv4, true),
            (LinkType::LinuxSll2, little, cooked2, &ipv6, true),
        ] {
            let frame = [&header[..], &body[..]].concat();
            let what = format!("{link_type:?} {header:02x?}");
            assert_eq!(selected(link_type, order, &frame, "8888"), expected, "{what}");
            assert_eq!(selected(link_type, order, &frame, "258"), expected, "{what}");
            assert!(!selected(link_type, order, &frame, "8889"), "{what}");
        }
    }

    /// DLT_IPV4 does not look at the version, DLT_RAW does.
    #[test]
    fn only_raw_reads_the_version() {
        let mut packet = IPV4;
        packet[0] = 0x55;
        assert!(selected(LinkType::Ipv4, ByteOrder::Little, &packet, "8888"));
        assert!(!selected(LinkType::Raw, ByteOrder::Little, &packet, "8888"));
    }
}
