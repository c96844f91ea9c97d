//! Any packets, printed in any mode and as JSON: no panic, whole lines, nothing that a terminal takes for a command, and no more
//! conversations than allowed.
//!
//! The input is a byte for the link type, three for the options, and then packets: two bytes for the captured length,
//! one for what is missing of it, and its bytes.

#![no_main]

use bytes::BytesMut;
use capture::output::{encoder::Encoder as _, json::JsonEncoder};
use capture_packet::{LinkType, Packet, Timestamp};
use capture_text::{
    Conversations, Printer,
    options::{Dump, TextOptions, TimestampStyle},
};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

/// Small, so that conversations are forgotten.
const CONVERSATIONS: usize = 4;

fn link_type(byte: u8) -> LinkType {
    match byte % 8 {
        0 => LinkType::Ethernet,
        1 => LinkType::Raw,
        2 => LinkType::Ipv4,
        3 => LinkType::Ipv6,
        4 => LinkType::Null,
        5 => LinkType::Loop,
        6 => LinkType::LinuxSll,
        _ => LinkType::LinuxSll2,
    }
}

fn options([time, switches, dump]: [u8; 3]) -> TextOptions {
    let link_header = dump & 4 != 0;
    TextOptions {
        timestamp: match time % 6 {
            0 => TimestampStyle::TimeOfDay,
            1 => TimestampStyle::None,
            2 => TimestampStyle::Epoch,
            3 => TimestampStyle::SincePrevious,
            4 => TimestampStyle::DateTime,
            _ => TimestampStyle::SinceFirst,
        },
        nanoseconds: switches & 1 != 0,
        number: switches & 2 != 0,
        link_header: switches & 4 != 0,
        quiet: switches & 8 != 0,
        quieter: dump & 16 != 0,
        absolute_sequence: switches & 16 != 0,
        skip_checksums: switches & 32 != 0,
        verbosity: switches >> 6,
        dump: match dump % 4 {
            0 => Dump::None,
            1 => Dump::Hex { link_header },
            2 => Dump::HexAscii { link_header },
            _ => Dump::Ascii { link_header },
        },
        headers_only: dump & 8 != 0,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(([link, first, second, third], mut rest)) = input.split_first_chunk() else { return };
    let link_type = link_type(*link);
    let mut printer =
        Printer::new(options([*first, *second, *third]), TimeZone::UTC, Conversations::new(CONVERSATIONS));
    let mut json = JsonEncoder::with_conversations(Vec::new(), Conversations::new(CONVERSATIONS));
    let mut out = BytesMut::new();
    let mut time = Timestamp::default();
    while let Some(([high, low, missing], bytes)) = rest.split_first_chunk() {
        let (data, after) = bytes.split_at(bytes.len().min(u16::from_be_bytes([*high, *low]).into()));
        rest = after;
        time.seconds += i64::from(*missing) * 100;
        let wire_len = data.len() as u32 + u32::from(*missing);
        out.clear();
        let packet = Packet::new(time, link_type, wire_len, data).located();
        printer.print(&packet, &mut out);
        assert_eq!(out.last(), Some(&b'\n'), "a line has an end");
        let safe = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        assert!(out.iter().all(safe), "{:?}", String::from_utf8_lossy(&out));
        assert!(printer.conversations().len() <= 2 * CONVERSATIONS);
        out.clear();
        json.packet(&packet, &mut out);
        assert!(out.starts_with(b"{") && out.ends_with(b"}\n") && out.is_ascii(), "an object on a line");
        assert_eq!(out.iter().filter(|byte| byte.is_ascii_control()).count(), 1, "a line has one end");
    }
});
