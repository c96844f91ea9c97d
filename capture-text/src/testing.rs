//! Packets for tests, made from the inside out, and the lines they give.

use bytes::BytesMut;
use capture_packet::{LinkType, Packet, Timestamp};
use jiff::tz::TimeZone;
use test_support::packets::{checksum, ip::Addresses, tcp::SegmentFields};

use super::{Conversations, Printer, options::TextOptions};

/// 2023-11-14 22:13:20 UTC.
pub(super) const SECOND: i64 = 1_700_000_000;

/// A TCP segment from port 1234 to 8888.
pub(super) struct Tcp<'a> {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
    /// From 8888 to 1234.
    pub(super) reverse: bool,
}

impl Default for Tcp<'_> {
    fn default() -> Self {
        Self { seq: 1000, ack: 2000, flags: 0x10, options: &[], payload: &[], reverse: false }
    }
}

impl Tcp<'_> {
    fn segment(&self) -> SegmentFields {
        let (source, destination) = if self.reverse { (8888, 1234) } else { (1234, 8888) };
        SegmentFields {
            source,
            destination,
            sequence: self.seq,
            acknowledgment: self.ack,
            flags: self.flags,
            window: 342,
            urgent: 7,
            options: self.options.to_vec(),
            payload: self.payload.to_vec(),
            ..SegmentFields::default()
        }
    }

    fn between(&self, addresses: Addresses) -> Addresses {
        if self.reverse { addresses.reversed() } else { addresses }
    }

    /// In an IPv4 packet between 10.0.0.1 and 10.0.0.2, complete with checksums.
    pub(super) fn ipv4(&self) -> Vec<u8> {
        let addresses = self.between(Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2]));
        let mut packet = self.segment().packet(&addresses);
        packet[4..6].copy_from_slice(&[0x12, 0x34]);
        header_checksum(&mut packet);
        packet
    }

    /// In an IPv6 packet between fe80::1 and fe80::2, complete with a checksum.
    pub(super) fn ipv6(&self) -> Vec<u8> {
        let [source, destination] = [1, 2].map(|last| ((0xfe80_u128 << 112) + last).to_be_bytes());
        self.segment().packet(&self.between(Addresses::V6(source, destination)))
    }
}

/// Makes the checksum of an IPv4 header right.
pub(super) fn header_checksum(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let checksum = checksum(&[&packet[..length.min(packet.len())]]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// What packets give, which is the same whether their layers have been located or not.
pub(super) fn print(options: TextOptions, packets: &[Packet<'_>]) -> String {
    let [located, walked] = [true, false].map(|is_located| {
        let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(16));
        let mut out = BytesMut::new();
        for &packet in packets {
            printer.print(&if is_located { packet.located() } else { packet }, &mut out);
        }
        String::from_utf8(out.to_vec()).unwrap()
    });
    assert_eq!(located, walked);
    located
}

/// What all of `packets` give, captured as a whole, one each microsecond from [`SECOND`] on.
pub(super) fn print_all<P: AsRef<[u8]>>(options: TextOptions, link_type: LinkType, packets: &[P]) -> String {
    let packets = (0..).zip(packets).map(|(n, packet)| {
        let data = packet.as_ref();
        let time = Timestamp { seconds: SECOND, nanoseconds: n * 1000 };
        Packet::new(time, link_type, data.len() as u32, data)
    });
    print(options, &packets.collect::<Vec<_>>())
}

/// What one packet gives without a time stamp, of which `captured` bytes were captured.
pub(super) fn print_cut(options: TextOptions, link_type: LinkType, packet: &[u8], captured: usize) -> String {
    let options = TextOptions { timestamp: super::options::TimestampStyle::None, ..options };
    let (time, wire_len) = (Timestamp { seconds: SECOND, nanoseconds: 0 }, packet.len() as u32);
    print(options, &[Packet::new(time, link_type, wire_len, &packet[..captured])])
}

/// What one raw IP packet gives without a time stamp.
pub(super) fn line(packet: &[u8]) -> String {
    print_cut(TextOptions::default(), LinkType::Raw, packet, packet.len())
}
