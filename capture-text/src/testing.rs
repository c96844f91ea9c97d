//! Packets for tests, made from the inside out, and the lines they give.

use bytes::BytesMut;
use capture_packet::{LinkType, Packet, Timestamp};
use jiff::tz::TimeZone;

use super::{Conversations, Printer, options::TextOptions};

/// 2023-11-14 22:13:20 UTC.
pub(super) const SECOND: i64 = 1_700_000_000;

/// A TCP segment from port 1234 to 8888 without a checksum.
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
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (source, destination) = if self.reverse { (8888_u16, 1234_u16) } else { (1234, 8888) };
        let data_offset = (5 + self.options.len().div_ceil(4) as u8) << 4;
        let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        bytes.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        bytes.extend([data_offset, self.flags, 0x01, 0x56, 0, 0, 0, 7]);
        bytes.extend(self.options);
        bytes.extend(self.payload);
        bytes
    }

    /// In an IPv4 packet between 10.0.0.1 and 10.0.0.2, complete with checksums.
    pub(super) fn ipv4(&self) -> Vec<u8> {
        let addresses =
            if self.reverse { [[10, 0, 0, 2], [10, 0, 0, 1]] } else { [[10, 0, 0, 1], [10, 0, 0, 2]] };
        ipv4(&addresses, &self.bytes())
    }

    /// In an IPv6 packet between fe80::1 and fe80::2, complete with a checksum.
    pub(super) fn ipv6(&self) -> Vec<u8> {
        ipv6(if self.reverse { [2, 1] } else { [1, 2] }, &self.bytes())
    }
}

fn internet_checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Makes the checksum of an IPv4 header right.
pub(super) fn header_checksum(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let checksum = internet_checksum(&[&packet[..length.min(packet.len())]]);
    packet[10..12].copy_from_slice(&checksum);
}

pub(super) fn ipv4(addresses: &[[u8; 4]; 2], segment: &[u8]) -> Vec<u8> {
    let mut segment = segment.to_vec();
    let length = (segment.len() as u16).to_be_bytes();
    let checksum = internet_checksum(&[addresses.as_flattened(), &[0, 6], &length, &segment]);
    segment[16..18].copy_from_slice(&checksum);
    let length = (20 + segment.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0x12, 0x34, 0x40, 0, 64, 6, 0, 0];
    packet.extend(addresses.as_flattened());
    let checksum = internet_checksum(&[&packet]);
    packet[10..12].copy_from_slice(&checksum);
    packet.extend(segment);
    packet
}

fn ipv6(last_bytes: [u8; 2], segment: &[u8]) -> Vec<u8> {
    let addresses = last_bytes.map(|last| [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let mut segment = segment.to_vec();
    let length = (segment.len() as u16).to_be_bytes();
    let checksum = internet_checksum(&[addresses.as_flattened(), &[0, 6], &length, &segment]);
    segment[16..18].copy_from_slice(&checksum);
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], 6, 64];
    packet.extend(addresses.as_flattened());
    packet.extend(segment);
    packet
}

/// What all of `packets` give, captured as a whole, one each microsecond from [`SECOND`] on.
pub(super) fn print_all<P: AsRef<[u8]>>(options: TextOptions, link_type: LinkType, packets: &[P]) -> String {
    let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(16));
    let mut out = BytesMut::new();
    for (n, packet) in packets.iter().enumerate() {
        let data = packet.as_ref();
        let time = Timestamp { seconds: SECOND, nanoseconds: n as i64 * 1000 };
        printer.print(&Packet::new(time, link_type, data.len() as u32, data), &mut out);
    }
    String::from_utf8(out.to_vec()).unwrap()
}

/// What one packet gives without a time stamp, of which `captured` bytes were captured.
pub(super) fn print_cut(options: TextOptions, link_type: LinkType, packet: &[u8], captured: usize) -> String {
    let options = TextOptions { timestamp: super::options::TimestampStyle::None, ..options };
    let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(16));
    let mut out = BytesMut::new();
    let (time, wire_len) = (Timestamp { seconds: SECOND, nanoseconds: 0 }, packet.len() as u32);
    printer.print(&Packet::new(time, link_type, wire_len, &packet[..captured]), &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

/// What one raw IP packet gives without a time stamp.
pub(super) fn line(packet: &[u8]) -> String {
    print_cut(TextOptions::default(), LinkType::Raw, packet, packet.len())
}
