//! The network layer: lengths, versions, options, fragments, the text of addresses.

use anyhow::Result;

use super::{Corpus, DESTINATION4, DESTINATION6, Frame, SOURCE4, SOURCE6, V4, V6, framed, segment, whole};
use crate::packets::{
    ip::{Addresses, Ipv4, Ipv6, TCP, fragment_header},
    link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6},
    tcp::option,
};

const MODES: [(&str, &str); 4] = [("", "-n -t"), ("v", "-n -t -v"), ("e", "-n -t -e"), ("x", "-n -t -x")];

pub(super) fn add(corpus: &mut Corpus) -> Result<()> {
    corpus.add_frames("ipv4", ipv4(), &MODES)?;
    corpus.add_frames("ipv4-options", ipv4_options(), &[("v", "-n -t -v")])?;
    corpus.add_frames("ipv6", ipv6(), &MODES)?;
    corpus.add_frames("ipv6-addresses", addresses(), &[("", "-n -t -q")])
}

fn ipv4() -> Vec<Frame> {
    let segment = segment().encode(&V4);
    let mut headers = Vec::new();
    for total_length in [0, 1, 19, 20, 21, 24, 39, 40, 41, 44, 45, 46, 100, 65_535] {
        headers.push(Ipv4 { total_length: Some(total_length), ..Ipv4::default() });
    }
    for header_length in 0..16 {
        headers.push(Ipv4 { header_length: Some(header_length), ..Ipv4::default() });
    }
    for version in 0..16 {
        headers.push(Ipv4 { version, ..Ipv4::default() });
    }
    for fragment in [0, 0x2000, 0x6000, 0x8000, 0xe000, 1, 0x2001, 0x1fff, 0x00b9] {
        headers.push(Ipv4 { fragment, ..Ipv4::default() });
    }
    for tos in [1, 2, 3, 0xb8, 0xfc] {
        headers.push(Ipv4 { tos, ..Ipv4::default() });
    }
    for (ttl, id, checksum) in [(0, 1, None), (1, 65_535, None), (255, 0, Some(0)), (64, 0, Some(0xffff))] {
        headers.push(Ipv4 { ttl, id, checksum, ..Ipv4::default() });
    }
    let mut frames: Vec<Frame> = headers
        .iter()
        .map(|header| (framed(ETHERTYPE_IPV4, &header.encode(SOURCE4, DESTINATION4, &segment)), None))
        .collect();
    // Padded as Ethernet pads; announced as the other version.
    let mut padded = framed(ETHERTYPE_IPV4, &V4.packet(&segment[..20]));
    padded.resize(60, 0xaa);
    frames.push((padded, None));
    frames.push((framed(ETHERTYPE_IPV6, &V4.packet(&segment)), None));
    frames
}

/// RFC 791 section 3.1, RFC 2113.
fn ipv4_options() -> Vec<Frame> {
    let route = [4, 10, 1, 1, 1, 10, 2, 2, 2];
    let stamps = |overflow_flag| [5, overflow_flag, 10, 1, 1, 1, 0, 0, 1, 0];
    let mut all = vec![
        vec![0],
        vec![1, 1, 1, 1],
        option(7, &route),
        option(131, &route),
        option(137, &route),
        option(148, &[0, 0]),
        option(148, &[0, 1]),
        option(148, &[0]),
        option(130, &[0; 9]),
        option(136, &[0, 1]),
        option(200, &[1, 2, 3]),
        vec![7],
        vec![7, 0],
        vec![7, 1],
        vec![7, 2, 0, 0],
        vec![7, 39, 4],
    ];
    for pointer in [0, 3, 5, 8, 12, 13, 255] {
        all.push(option(7, &[pointer, 10, 1, 1, 1, 10, 2, 2, 2]));
        all.push(option(131, &[pointer, 10, 1, 1, 1, 10, 2, 2, 2]));
    }
    for overflow_flag in [0x00, 0x01, 0x03, 0x02, 0xf1, 0x30] {
        all.push(option(68, &stamps(overflow_flag)));
        all.push(option(68, &[9, overflow_flag, 10, 1, 1, 1, 0, 0, 1, 0, 10, 2, 2, 2, 0, 0, 2, 0]));
    }
    let segment = segment().encode(&V4);
    all.into_iter()
        .map(|options| {
            let packet = Ipv4 { options, ..Ipv4::default() }.encode(SOURCE4, DESTINATION4, &segment);
            (framed(ETHERTYPE_IPV4, &packet), None)
        })
        .collect()
}

fn ipv6() -> Vec<Frame> {
    let segment = segment().encode(&V6);
    let mut packets = Vec::new();
    for payload_length in [0, 1, 3, 4, 19, 20, 24, 25, 26, 100, 65_535] {
        let header = Ipv6 { payload_length: Some(payload_length), ..Ipv6::default() };
        packets.push(header.encode(SOURCE6, DESTINATION6, &segment));
    }
    for version in 0..16 {
        packets.push(Ipv6 { version, ..Ipv6::default() }.encode(SOURCE6, DESTINATION6, &segment));
    }
    for (traffic_class, flow_label, hop_limit) in [(0xb8, 0, 0), (3, 1, 1), (0, 0xf_ffff, 255)] {
        let header = Ipv6 { traffic_class, flow_label, hop_limit, ..Ipv6::default() };
        packets.push(header.encode(SOURCE6, DESTINATION6, &segment));
    }
    for (offset, more) in [(0, false), (0, true), (8, true), (1448, false), (0xfff8, true)] {
        let header = Ipv6 { next_header: 44, ..Ipv6::default() };
        let payload = [&fragment_header(TCP, offset, more, 0xdead_beef)[..], &segment].concat();
        packets.push(header.encode(SOURCE6, DESTINATION6, &payload));
    }
    // An extension header hides the segment: not selected.
    let hidden = [&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &segment].concat();
    packets.push(Ipv6 { next_header: 0, ..Ipv6::default() }.encode(SOURCE6, DESTINATION6, &hidden));
    let mut frames: Vec<Frame> =
        packets.iter().map(|packet| (framed(ETHERTYPE_IPV6, packet), None)).collect();
    frames.push((framed(ETHERTYPE_IPV4, &V6.packet(&segment)), None));
    frames
}

/// Where zeros are left out, and which addresses end as IPv4 addresses do.
fn addresses() -> Vec<Frame> {
    let of_groups = |groups: [u16; 8]| {
        let mut address = [0; 16];
        for (bytes, group) in address.chunks_mut(2).zip(groups) {
            bytes.copy_from_slice(&group.to_be_bytes());
        }
        address
    };
    let all = [
        [0; 8],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0x0102, 0x0304],
        [0, 0, 0, 0, 0, 0, 1, 0x0200],
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0xffff, 0x0a00, 1],
        [0, 0, 0, 0, 0, 0xffff, 0, 1],
        [0, 0, 0, 0, 0xffff, 0, 0x0a00, 1],
        [0x64, 0xff9b, 0, 0, 0, 0, 0x0a00, 1],
        [0xfe80, 0, 0, 0, 1, 2, 3, 4],
        [1, 0, 2, 0, 3, 0, 4, 0],
        [0, 1, 0, 2, 0, 3, 0, 4],
        [1, 0, 0, 2, 0, 0, 3, 4],
        [1, 0, 0, 2, 0, 0, 0, 4],
        [1, 2, 3, 4, 5, 6, 0, 0],
        [0, 0, 3, 4, 5, 6, 7, 8],
        [0xffff; 8],
        [0x0abc, 0x00ab, 0x000a, 0xabcd, 1, 0x10, 0x100, 0x1000],
    ];
    all.map(|groups| whole(&Addresses::V6(of_groups(groups), of_groups([0; 8])), &segment())).into()
}
