//! Live, without `-s`, only headers are captured. What is printed of them is what is printed of whole packets.

use std::{fs, path::Path};

use bytes::BytesMut;
use capture::source::file::FileSource;
use capture_common::{
    parse::{Layers, Location},
    record::RecordHeader,
};
use capture_packet::{LinkType, Packet, Precision, layers::location};
use capture_text::{Conversations, Printer, options::TextOptions};
use jiff::tz::TimeZone;

/// One packet of a file as it is, and as it would be if its sender or the wire had changed it.
fn variants(frame: &[u8], l3_offset: usize) -> Vec<Vec<u8>> {
    let mut variants = vec![frame.to_vec(), [frame, &[0; 6]].concat()];
    variants.extend([1, 2, 13].map(|cut| frame[..frame.len().saturating_sub(cut)].to_vec()));
    variants.push(frame[..frame.len() / 2].to_vec());
    // The total length of IPv4, the payload length of IPv6.
    for (version, low_byte) in [(4, 3), (6, 5)] {
        let at = l3_offset + low_byte;
        if frame.get(l3_offset).is_some_and(|byte| byte >> 4 == version) && at < frame.len() {
            for add in [1, 13, 200, 255] {
                let mut lying = frame.to_vec();
                lying[at] = lying[at].wrapping_add(add);
                variants.push(lying);
            }
        }
    }
    variants
}

#[test]
fn headers_print_as_whole_packets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let every = TextOptions { link_header: true, number: true, ..TextOptions::default() };
    let styles = [
        TextOptions::default(),
        every,
        TextOptions { quiet: true, ..every },
        TextOptions { absolute_sequence: true, ..TextOptions::default() },
    ];
    let (mut packets, mut cut, mut md5, mut missing) = (0, 0, 0, 0);
    for style in styles {
        let headers_only = TextOptions { headers_only: true, ..style };
        let mut printers = [style, headers_only]
            .map(|style| Printer::new(style, TimeZone::UTC, Conversations::new(1 << 12)));
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(mut source) = FileSource::new(fs::File::open(&path).unwrap(), Precision::Micro) else {
                continue;
            };
            while let Ok(Some(Packet { time, link_type, data: frame, .. })) = source.next_packet() {
                // The link types that are captured live.
                if !matches!(link_type, LinkType::Ethernet | LinkType::Raw) {
                    continue;
                }
                let located = |data: &[u8]| match location(link_type, data) {
                    Location::Tcp { layers, headers_end } => Some((layers, headers_end)),
                    _ => None,
                };
                let Some((Layers { l3_offset, .. }, _)) = located(frame) else { continue };
                for data in variants(frame, l3_offset) {
                    let Some((layers, headers_end)) = located(&data) else { continue };
                    let whole = Packet::new(time, link_type, data.len() as u32, &data);
                    let whole = Packet { layers: Some(layers), ..whole };
                    let headers = Packet { data: &data[..headers_end.min(data.len())], ..whole };
                    let [expected, printed] = [(0, whole), (1, headers)].map(|(printer, packet)| {
                        let mut text = BytesMut::new();
                        printers[printer].print(&packet, &mut text);
                        String::from_utf8(text.to_vec()).unwrap()
                    });
                    assert_eq!(printed, expected, "{}: {data:02x?}", path.display());
                    packets += 1;
                    cut += usize::from(headers.data.len() < data.len());
                    md5 += usize::from(expected.contains(" shared secret not supplied with -M, "));
                    missing += usize::from(expected.contains("md5 snaplen too short, "));
                }
            }
        }
    }
    assert!(packets > 10_000 && cut > 3000 && md5 > 10 && missing > 10, "{packets} {cut} {md5} {missing}");
}

/// The fuzzer starts with records that are accepted.
#[test]
fn the_committed_records_are_of_this_layout() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/record");
    let records = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path| RecordHeader::from_record(&fs::read(path).unwrap()).map(|(header, _)| header.layers());
    assert!(records.map(read).filter(|layers| matches!(layers, Some(Some(_)))).count() > 10);
}
