//! Linux "cooked" frames, version 2 (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>): packets of interfaces of
//! any kind under one header, which names the interface and to whom the packet is addressed.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | the Ethernet type of what follows the header |
//! | 2 | zero |
//! | 4 | the interface's index |
//! | 2 | its hardware type (`ARPHRD_`) |
//! | 1 | the packet type |
//! | 1 | the length of the address: 6, or 0 where there is none |
//! | 8 | the sender's link address |
//!
//! There are no VLAN tags in them, as with `tcpdump -i any`: the kernel hands such a capture packets from the network header
//! on, and libpcap puts a tag that was taken out back into Ethernet frames alone (pcap-linux.c, `set_vlan_offset`).

use bytes::{Bytes, BytesMut};
use capture_common::{
    headers::ethernet,
    parse::{Layers, Network},
    record::packet_type,
};
use capture_flow::{Event, Forgotten};
use capture_packet::{Direction, LinkType, Packet, link::linux_sll2};

use super::{encoder::Encoder, statistics::Statistics};
use crate::source::interface::InterfaceDescription;

/// Where an Ethernet frame has its sender's address.
const SENDER: usize = 6;
/// The longest captured frame that is made without growing.
const ROOM: usize = 2048;

/// That packets are to be cooked frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooking {
    /// Bytes of a frame that are kept; 0 for all.
    pub snaplen: u32,
    /// Whether that is asked for (`-y`): then also where there is a place for interfaces of any kind.
    pub is_asked: bool,
}

/// Hands packets to another encoder as cooked frames.
#[derive(Debug)]
pub struct Cooked<E> {
    encoder: E,
    /// Of each of the source's interfaces.
    hardware_types: Vec<u16>,
    /// Bytes of a frame that are kept; 0 for all.
    snaplen: usize,
    frame: Vec<u8>,
}

impl<E> Cooked<E> {
    /// Frames for `encoder`, of packets of `interfaces`. They are cut off after `snaplen` bytes, the header included, as
    /// libpcap does; 0 keeps all.
    pub fn new(encoder: E, interfaces: &[InterfaceDescription], snaplen: u32) -> Self {
        Self {
            encoder,
            hardware_types: interfaces.iter().map(|interface| interface.hardware_type).collect(),
            snaplen: snaplen as usize,
            frame: Vec::with_capacity(ROOM),
        }
    }
}

/// An interface as it is described where its packets are cooked frames.
pub fn cooked_description(interface: &InterfaceDescription) -> InterfaceDescription {
    InterfaceDescription { link_type: LinkType::LinuxSll2, ..interface.clone() }
}

/// What an interface's own link header says.
struct LinkHeader {
    /// The Ethernet type of what follows.
    protocol: u16,
    /// Where it follows.
    length: usize,
    sender: Option<[u8; 6]>,
}

impl LinkHeader {
    /// That of a packet.
    fn of(packet: &Packet<'_>) -> Self {
        let is_ethernet = packet.link_type == LinkType::Ethernet;
        let sender = match packet.data.get(SENDER..).and_then(|rest| rest.first_chunk()) {
            Some(address) if is_ethernet => Some(*address),
            _ => None,
        };
        let (protocol, length) = match (packet.layers, packet.data) {
            (Some(Layers { network: Network::Ipv4, l3_offset, .. }), _) => (ethernet::TYPE_IPV4, l3_offset),
            (Some(Layers { network: Network::Ipv6, l3_offset, .. }), _) => (ethernet::TYPE_IPV6, l3_offset),
            (None, [_, _, _, _, _, _, _, _, _, _, _, _, high, low, ..]) if is_ethernet => {
                (u16::from_be_bytes([*high, *low]), ethernet::LENGTH)
            }
            (None, _) if is_ethernet => (0, ethernet::LENGTH),
            (None, [first, ..]) if first >> 4 == 6 => (ethernet::TYPE_IPV6, 0),
            (None, _) => (ethernet::TYPE_IPV4, 0),
        };
        Self { protocol, length, sender }
    }
}

/// The packet type of a packet. At XDP the kernel has not found it out yet, and the receiver's address says what it says
/// of any machine.
fn packet_type_of(packet: &Packet<'_>) -> u8 {
    match (packet.packet_type, packet.direction) {
        (known @ packet_type::HOST..=packet_type::OUTGOING, _) => known,
        (_, Some(Direction::Out)) => packet_type::OUTGOING,
        _ if packet.link_type != LinkType::Ethernet => packet_type::HOST,
        _ => match packet.data.first_chunk::<SENDER>() {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => packet_type::BROADCAST,
            Some([first, ..]) if first & 1 != 0 => packet_type::MULTICAST,
            _ => packet_type::HOST,
        },
    }
}

/// The packet as a cooked frame, which is made in `frame`.
fn cook<'f>(packet: &Packet<'_>, hardware_type: u16, snaplen: usize, frame: &'f mut Vec<u8>) -> Packet<'f> {
    let LinkHeader { protocol, length, sender } = LinkHeader::of(packet);
    let (address_length, address) = match sender {
        Some(address) => (address.len() as u8, address),
        None => (0, [0; SENDER]),
    };
    let [p1, p0] = protocol.to_be_bytes();
    let [i3, i2, i1, i0] = packet.ifindex.to_be_bytes();
    let [h1, h0] = hardware_type.to_be_bytes();
    let [a0, a1, a2, a3, a4, a5] = address;
    let header: [u8; linux_sll2::LENGTH] = [
        p1,
        p0,
        0,
        0,
        i3,
        i2,
        i1,
        i0,
        h1,
        h0,
        packet_type_of(packet),
        address_length,
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        0,
        0,
    ];
    frame.clear();
    frame.extend_from_slice(&header);
    frame.extend_from_slice(packet.data.get(length..).unwrap_or_default());
    if snaplen > 0 {
        frame.truncate(snaplen);
    }
    let moved = |offset: usize| (offset + header.len()).checked_sub(length);
    let layers = packet.layers.and_then(|layers| {
        Some(Layers {
            l3_offset: moved(layers.l3_offset)?,
            l4_offset: layers.l4_offset.and_then(|offset| moved(offset.get())?.try_into().ok()),
            ..layers
        })
    });
    Packet {
        link_type: LinkType::LinuxSll2,
        layers,
        wire_len: packet.wire_len.saturating_sub(length as u32).saturating_add(header.len() as u32),
        data: frame,
        ..*packet
    }
}

impl<E: Encoder> Encoder for Cooked<E> {
    fn header(&self) -> Bytes {
        self.encoder.header()
    }

    fn interface(&mut self, interface: &InterfaceDescription, block: &mut BytesMut) {
        self.hardware_types.push(interface.hardware_type);
        self.encoder.interface(&cooked_description(interface), block);
    }

    fn interface_name(&mut self, index: u32, name: Option<&str>) {
        self.encoder.interface_name(index, name);
    }

    fn comment(&mut self, comment: &[u8]) {
        self.encoder.comment(comment);
    }

    fn lost(&mut self, packets: u64) {
        self.encoder.lost(packets);
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        let Self { encoder, hardware_types, snaplen, frame } = self;
        let hardware_type = hardware_types.get(packet.source.0 as usize).copied().unwrap_or_default();
        encoder.packet(&cook(packet, hardware_type, *snaplen, frame), block)
    }

    fn dropped(&mut self, packet: &Packet<'_>) {
        self.encoder.dropped(&Packet { link_type: LinkType::LinuxSll2, ..*packet });
    }

    fn event(&mut self, event: &Event, block: &mut BytesMut) {
        self.encoder.event(event, block);
    }

    fn wants_statistics(&self) -> bool {
        self.encoder.wants_statistics()
    }

    fn statistics(&mut self, statistics: &Statistics<'_>, block: &mut BytesMut) {
        self.encoder.statistics(statistics, block);
    }

    fn trailer(&self) -> Bytes {
        self.encoder.trailer()
    }

    fn epilogue(&mut self, forgotten: Option<Forgotten>, interrupted: bool, block: &mut BytesMut) {
        self.encoder.epilogue(forgotten, interrupted, block);
    }

    fn remarks(&self) -> String {
        self.encoder.remarks()
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::{SourceId, Timestamp, layers};

    use super::*;

    /// What comes after the header.
    const IPV4: [u8; 40] = {
        let mut packet = [0; 40];
        (packet[0], packet[3], packet[9], packet[32]) = (0x45, 40, 6, 0x50);
        packet
    };
    const TO: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn cooked(link_type: LinkType, frame: &[u8], packet_type: u8, snaplen: usize) -> (u32, Vec<u8>) {
        let packet = Packet {
            ifindex: 7,
            packet_type,
            ..Packet::new(Timestamp::default(), link_type, frame.len() as u32, frame).located()
        };
        let mut made = Vec::new();
        let cooked = cook(&packet, 0x0304, snaplen, &mut made);
        if packet.layers.is_some() && snaplen == 0 {
            assert_eq!(cooked.layers, layers::locate(LinkType::LinuxSll2, cooked.data));
        }
        (cooked.wire_len, made)
    }

    fn header(protocol: u16, packet_type: u8, sender: &[u8]) -> Vec<u8> {
        let mut header = protocol.to_be_bytes().to_vec();
        header.extend([0, 0, 0, 0, 0, 7, 3, 4, packet_type, sender.len() as u8]);
        header.extend(sender);
        header.resize(20, 0);
        header
    }

    #[test]
    fn every_kind_of_frame() {
        let ethernet = |types: &[u8]| [&TO, &FROM, types, &IPV4].concat();
        for (link_type, frame, expected) in [
            (LinkType::Ethernet, ethernet(&[8, 0]), [&header(0x0800, 3, &FROM)[..], &IPV4].concat()),
            (LinkType::Raw, IPV4.to_vec(), [&header(0x0800, 3, &[])[..], &IPV4].concat()),
            (LinkType::Raw, vec![0x60; 40], [&header(0x86dd, 3, &[])[..], &[0x60; 40]].concat()),
            // Tags are not in it.
            (
                LinkType::Ethernet,
                ethernet(&[0x81, 0, 0, 5, 8, 0]),
                [&header(0x0800, 3, &FROM)[..], &IPV4].concat(),
            ),
            (
                LinkType::Ethernet,
                ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]),
                [&header(0x0800, 3, &FROM)[..], &IPV4].concat(),
            ),
        ] {
            let (wire_len, made) = cooked(link_type, &frame, packet_type::OTHERHOST, 0);
            assert_eq!((wire_len as usize, &made), (expected.len(), &expected), "{frame:02x?}");
            for snaplen in [1, 20, 30] {
                let (cut_len, cut) = cooked(link_type, &frame, packet_type::OTHERHOST, snaplen);
                assert_eq!((cut_len, &cut[..]), (wire_len, &expected[..snaplen]));
            }
        }
    }

    /// Layers are not known then.
    #[test]
    fn a_frame_that_is_cut_off_has_no_more_than_was_captured() {
        let frame = [&TO[..], &FROM, &[0x12, 0x34, 5, 6]].concat();
        for length in 0..frame.len() {
            let (wire_len, made) = cooked(LinkType::Ethernet, &frame[..length], 0, 0);
            let rest = length.saturating_sub(14);
            assert_eq!((wire_len as usize, made.len()), (20 + rest, 20 + rest), "{length}");
            assert_eq!(made[..2], if length < 14 { [0, 0] } else { [0x12, 0x34] });
            assert_eq!(made[11], if length < 12 { 0 } else { 6 });
        }
    }

    #[test]
    fn at_xdp_the_receivers_address_says_to_whom_a_packet_is_addressed() {
        for (to, expected) in [
            (TO, packet_type::HOST),
            ([0xff; 6], packet_type::BROADCAST),
            ([0x33, 0x33, 0, 0, 0, 1], packet_type::MULTICAST),
        ] {
            let frame = [&to[..], &FROM, &[8, 0], &IPV4].concat();
            assert_eq!(cooked(LinkType::Ethernet, &frame, packet_type::UNKNOWN, 0).1[10], expected);
        }
        assert_eq!(cooked(LinkType::Raw, &IPV4, packet_type::UNKNOWN, 0).1[10], packet_type::HOST);
    }

    #[test]
    fn a_packet_has_the_hardware_type_of_its_interface() {
        #[derive(Debug)]
        struct Data;

        impl Encoder for Data {
            fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
                block.extend_from_slice(&packet.data[8..10]);
                true
            }
        }

        let interface = |hardware_type| InterfaceDescription {
            hardware_type,
            ..InterfaceDescription::new(LinkType::Raw, 0)
        };
        let mut cooked = Cooked::new(Data, &[interface(1)], 0);
        let mut block = BytesMut::new();
        cooked.interface(&interface(0xfffe), &mut block);
        for source in [0, 1, 2] {
            let source = SourceId(source);
            cooked.packet(
                &Packet { source, ..Packet::new(Timestamp::default(), LinkType::Raw, 40, &IPV4) },
                &mut block,
            );
        }
        assert_eq!(block[..], [0, 1, 0xff, 0xfe, 0, 0]);
    }
}
