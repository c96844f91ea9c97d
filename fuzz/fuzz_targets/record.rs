//! Any bytes as a record from the ring: refused, or exactly what its header claims; and then printed.

#![no_main]

use bytes::BytesMut;
use capture_common::record::{ABI_VERSION, RecordHeader};
use capture_flow::Tracker;
use capture_packet::{LinkType, Packet, Timestamp};
use capture_text::{Conversations, Printer, options::TextOptions};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let Some((header, data)) = RecordHeader::from_record(record) else { return };
    assert_eq!({ header.abi_version }, ABI_VERSION);
    assert_eq!(data.len(), header.captured_len as usize);
    let time = Timestamp { seconds: (header.time / 1_000_000_000).cast_signed(), ..Timestamp::default() };
    let mut out = BytesMut::new();
    for link_type in [LinkType::Ethernet, LinkType::Raw] {
        let packet = Packet::new(time, link_type, header.wire_len, data);
        let packet = Packet { layers: header.layers(), ..packet };
        Tracker::new(1).track(&packet, |_| {});
        Printer::new(TextOptions::default(), TimeZone::UTC, Conversations::new(1)).print(&packet, &mut out);
    }
    assert_eq!(out.last(), Some(&b'\n'));
});
