//! A few packets of many kinds, printed in each mode; and the time stamps.

use anyhow::Result;

use super::{
    Corpus, DESTINATION4, DESTINATION6, Frame, SOURCE4, SOURCE6, V4, V6, pcap, segment, timestamp, whole,
};
use crate::{
    diff::FIXED,
    packets::{
        Packet,
        file::{CaptureFile, Format},
        ip::{Ipv4, Ipv6},
        link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, ethernet, frame},
        tcp::{ACK, FIN, RST, SYN, SegmentFields, URG},
    },
};

pub(super) fn add(corpus: &mut Corpus) -> Result<()> {
    let file = pcap(Link::Ethernet, frames()).encode();
    let names: Vec<_> = FIXED.iter().map(|flags| name(flags)).collect();
    let flags: Vec<_> = FIXED.iter().map(|flags| format!("-n {flags}").trim_end().to_owned()).collect();
    let goldens: Vec<_> =
        names.iter().zip(&flags).map(|(name, flags)| (name.as_str(), flags.as_str())).collect();
    corpus.add("modes", file, &goldens)?;
    times(corpus)
}

/// A set of flags as part of a file's name: `-e -v` is `e_v`. Names that differ in case only are one on some systems.
fn name(flags: &str) -> String {
    let words = flags.split_ascii_whitespace().map(|flag| match flag {
        "-#" => "number",
        "-X" => "xascii",
        "-XX" => "xxascii",
        flag => flag.trim_start_matches('-'),
    });
    let name = words.collect::<Vec<_>>().join("_");
    if name.is_empty() { "plain".into() } else { name }
}

fn frames() -> Vec<Frame> {
    let back = |segment: SegmentFields| SegmentFields {
        source: segment.destination,
        destination: segment.source,
        sequence: 2000,
        acknowledgment: 1005,
        ..segment
    };
    let stamped = SegmentFields { options: timestamp(7, 6), ..segment() };
    let empty = SegmentFields { flags: ACK, payload: Vec::new(), ..segment() };
    let tagged = |tags: &[(u16, u16)], ethertype, packet: Vec<u8>| {
        ([ethernet([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1], tags, ethertype), packet].concat(), None)
    };
    let bytes = |segment: &SegmentFields| segment.encode(&V4);
    vec![
        whole(&V4, &SegmentFields { flags: SYN, acknowledgment: 0, ..empty.clone() }),
        whole(&V4, &stamped),
        whole(&V4.reversed(), &back(empty.clone())),
        whole(&V6, &stamped),
        whole(&V6.reversed(), &back(segment())),
        whole(&V4, &SegmentFields { checksum: Some(0x1234), ..segment() }),
        whole(
            &V4,
            &SegmentFields { flags: RST | ACK, payload: b"gone\tfor \x1b[31mgood\xff".to_vec(), ..segment() },
        ),
        whole(&V4, &SegmentFields { flags: FIN | ACK | URG, urgent: 3, payload: Vec::new(), ..segment() }),
        // Explicit congestion notification, a record route, a wrong checksum.
        (
            frame(
                &[],
                &Ipv4 {
                    tos: 3,
                    ttl: 1,
                    id: 99,
                    options: vec![7, 7, 4, 0, 0, 0, 0],
                    checksum: Some(1),
                    ..Ipv4::default()
                }
                .encode(SOURCE4, DESTINATION4, &bytes(&segment())),
            ),
            None,
        ),
        // The first of several fragments.
        (
            frame(
                &[],
                &Ipv4 { fragment: 0x2000, ..Ipv4::default() }.encode(
                    SOURCE4,
                    DESTINATION4,
                    &bytes(&segment()),
                ),
            ),
            None,
        ),
        (
            frame(
                &[],
                &Ipv6 { traffic_class: 0xb9, flow_label: 0x12345, ..Ipv6::default() }.encode(
                    SOURCE6,
                    DESTINATION6,
                    &segment().encode(&V6),
                ),
            ),
            None,
        ),
        tagged(&[(0x8100, 0x7005)], ETHERTYPE_IPV4, V4.packet(&bytes(&segment()))),
        tagged(&[(0x88a8, 0x000a), (0x8100, 0x2fff)], ETHERTYPE_IPV6, segment().packet(&V6)),
        // Captured in part.
        (whole(&V4, &stamped).0, Some(68)),
        (whole(&V4, &stamped).0, Some(50)),
    ]
}

fn times(corpus: &mut Corpus) -> Result<()> {
    let data = whole(&V4, &segment()).0;
    let packet = |(seconds, nanoseconds)| Packet::whole(seconds, nanoseconds, data.clone());
    let file = |format, times: &[(u32, u32)]| {
        let packets = times.iter().copied().map(packet).collect();
        CaptureFile { format, ..CaptureFile::pcap(Link::Ethernet, packets) }.encode()
    };
    let styles = |zone: &str| {
        ["", "-tt", "-ttt", "-tttt", "-ttttt", "--nano", "--nano -ttt", "--nano -ttttt"]
            .map(|style| (name(style), format!("TZ={zone} -n -q {style}").trim_end().to_owned()))
    };
    let all = [
        // Over midnight, back, and to the same time.
        (
            "midnight",
            "GMT0",
            Format::PcapNano,
            vec![
                (1_703_980_799, 999_999_999),
                (1_703_980_800, 0),
                (1_703_980_800, 1),
                (1_703_980_799, 999_999_000),
                (1_703_980_799, 999_999_000),
                (1_704_067_200, 500),
            ],
        ),
        // Central Europe goes from 01:59:59 to 03:00:00, and back at the end of October.
        (
            "summer",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            Format::Pcap,
            vec![(1_711_846_799, 999_999_000), (1_711_846_800, 0), (1_729_990_799, 0), (1_729_990_800, 0)],
        ),
        // What no clock shows: the beginning, the end of 31 bits, what is beyond, fractions of more than a second.
        (
            "insane",
            "<+0530>-5:30",
            Format::Pcap,
            vec![
                (0, 0),
                (0x7fff_ffff, 999_999_000),
                (0x8000_0000, 0),
                (0xffff_ffff, 4_294_967_000),
                (1_700_000_000, 1_000_000_000),
                (1_700_000_000, 4_000_000_000),
            ],
        ),
    ];
    for (name, zone, format, times) in all {
        let styles = styles(zone);
        let goldens: Vec<_> = styles.iter().map(|(name, flags)| (name.as_str(), flags.as_str())).collect();
        corpus.add(&format!("time-{name}"), file(format, &times), &goldens)?;
    }
    Ok(())
}
