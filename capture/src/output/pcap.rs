//! pcap: one header for the file, one for each packet, in the layout that [`source::file`](crate::source::file) reads.
//!
//! A pcap file has one link type. It has no place for directions, interfaces, events and losses.

use bytes::{Bytes, BytesMut};
use capture_common::record::MAX_SNAPLEN;
use capture_packet::{LinkType, Packet, Precision};

use super::{
    cooked::Cooked,
    encoder::Encoder,
    format::{Events, Format, Request, Setup},
};
use crate::source::interface::InterfaceDescription;

/// pcap files.
pub const FORMAT: Format = Format {
    name: "pcap",
    help: "What every tool reads",
    asked: Request::OfFile,
    whole_packets: true,
    exact_times: false,
    interfaces: false,
    events: Events::Never,
    encoder,
};

fn encoder(setup: &Setup<'_>) -> Box<dyn Encoder> {
    let &Setup { interfaces, precision, cooking, .. } = setup;
    match cooking {
        Some(cooking) => {
            let description = InterfaceDescription::new(LinkType::LinuxSll2, cooking.snaplen);
            Box::new(Cooked::new(PcapEncoder::new(&description, precision), interfaces, cooking.snaplen))
        }
        None => {
            // The file has a link type before a packet says which.
            let unknown = InterfaceDescription::new(LinkType::Ethernet, MAX_SNAPLEN);
            Box::new(PcapEncoder::new(interfaces.first().unwrap_or(&unknown), precision))
        }
    }
}

const MAGIC_MICRO: u32 = 0xa1b2_c3d4;
const MAGIC_NANO: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const PACKET_HEADER_LENGTH: usize = 16;

/// Makes the contents of pcap files, version 2.4, little-endian.
#[derive(Debug)]
pub struct PcapEncoder {
    link_type: LinkType,
    snaplen: u32,
    precision: Precision,
}

impl PcapEncoder {
    /// Packets of `interface`, with their times cut off to `precision`.
    pub fn new(interface: &InterfaceDescription, precision: Precision) -> Self {
        let &InterfaceDescription { link_type, snaplen, .. } = interface;
        let snaplen = if snaplen == 0 { MAX_SNAPLEN } else { snaplen };
        Self { link_type, snaplen, precision }
    }
}

impl Encoder for PcapEncoder {
    fn header(&self) -> Bytes {
        let magic = match self.precision {
            Precision::Micro => MAGIC_MICRO,
            Precision::Nano => MAGIC_NANO,
        };
        let mut header = BytesMut::new();
        header.extend_from_slice(&magic.to_le_bytes());
        VERSION.iter().for_each(|number| header.extend_from_slice(&number.to_le_bytes()));
        // The time zone and the accuracy of the times are 0 everywhere.
        for word in [0, 0, self.snaplen, self.link_type.number().into()] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.freeze()
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        if packet.link_type != self.link_type {
            return false;
        }
        let fraction = match self.precision {
            Precision::Micro => packet.time.nanoseconds / 1000,
            Precision::Nano => packet.time.nanoseconds,
        };
        // What does not fit is cut off to 32 bits, as in libpcap (sf-pcap.c, pcap_dump).
        let words = [packet.time.seconds as u32, fraction as u32, packet.data.len() as u32, packet.wire_len];
        let mut header = [0; PACKET_HEADER_LENGTH];
        for (bytes, word) in header.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        block.reserve(PACKET_HEADER_LENGTH + packet.data.len());
        block.extend_from_slice(&header);
        block.extend_from_slice(packet.data);
        true
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::Timestamp;
    use test_support::packets::{
        self,
        byte_order::ByteOrder,
        file::{MICROSECONDS, NANOSECONDS, written},
    };

    use super::*;

    fn interface(snaplen: u32) -> InterfaceDescription {
        InterfaceDescription::new(LinkType::Raw, snaplen)
    }

    fn encoded(encoder: &mut PcapEncoder, packets: &[Packet<'_>]) -> Vec<u8> {
        let mut block = BytesMut::from(encoder.header());
        assert!(packets.iter().all(|packet| encoder.packet(packet, &mut block)));
        block.to_vec()
    }

    fn packet(seconds: i64, nanoseconds: i64) -> Packet<'static> {
        Packet::new(Timestamp { seconds, nanoseconds }, LinkType::Raw, 60, b"abcde")
    }

    #[test]
    fn packets_in_both_precisions() {
        for (precision, magic, fraction) in
            [(Precision::Micro, MICROSECONDS, 123_456), (Precision::Nano, NANOSECONDS, 123_456_789)]
        {
            let mut encoder = PcapEncoder::new(&interface(96), precision);
            let written = written(ByteOrder::Little, |file| {
                file.pcap_header(magic, 96, 101);
                let packet =
                    packets::Packet { wire_len: 60, ..packets::Packet::whole(7, 0, b"abcde".into()) };
                file.pcap_packet(fraction, &packet);
                file.pcap_packet(fraction, &packet);
            });
            assert_eq!(encoded(&mut encoder, &[packet(7, 123_456_789); 2]), written);
        }
    }

    #[test]
    fn without_a_snapshot_length_the_header_has_the_most() {
        let header = PcapEncoder::new(&interface(0), Precision::Micro).header();
        assert_eq!(header[16..20], 262_144_u32.to_le_bytes());
    }

    /// 2106, and before 1970.
    #[test]
    fn a_time_that_does_not_fit_is_cut_off() {
        for (seconds, nanoseconds, expected) in [
            (0x1_0000_0007, 999_999_999, [7, 999_999]),
            (-1, 0, [u32::MAX, 0]),
            (0, -1000, [0, u32::MAX]),
            (0, 5_000_000_000_000, [0, 705_032_704]),
        ] {
            let mut encoder = PcapEncoder::new(&interface(0), Precision::Micro);
            let file = encoded(&mut encoder, &[packet(seconds, nanoseconds)]);
            assert_eq!(file[24..32], *expected.map(u32::to_le_bytes).as_flattened());
        }
    }

    #[test]
    fn a_packet_of_another_link_type_is_left_out() {
        let mut encoder = PcapEncoder::new(&interface(0), Precision::Micro);
        let mut block = BytesMut::new();
        let other = Packet { link_type: LinkType::Ethernet, ..packet(1, 0) };
        assert!(!encoder.packet(&other, &mut block) && block.is_empty());
        assert!(encoder.packet(&packet(1, 0), &mut block) && !block.is_empty());
    }
}
