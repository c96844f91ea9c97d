//! Link types, file formats, files that are cut off or corrupt, and what is selected.

use anyhow::Result;

use super::{Corpus, DESTINATION4, DESTINATION6, SOURCE4, SOURCE6, V4, V6, pcap, segment, whole};
use crate::packets::{
    Packet,
    byte_order::ByteOrder,
    file::{CaptureFile, Clock, Format, Writer},
    ip::{Ipv4, Ipv6, TCP, fragment_header},
    link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, ethernet, frame, null, sll, sll2},
    tcp::{ACK, SegmentFields},
};

pub(super) fn add(corpus: &mut Corpus) -> Result<()> {
    links(corpus)?;
    tags(corpus)?;
    formats(corpus)?;
    broken(corpus)?;
    selected(corpus)?;
    lengths(corpus)
}

fn links(corpus: &mut Corpus) -> Result<()> {
    let [v4, v6] = [V4, V6].map(|addresses| segment().packet(&addresses));
    let both = |header4: Vec<u8>, header6: Vec<u8>| {
        vec![([&header4[..], &v4].concat(), None), ([&header6[..], &v6].concat(), None)]
    };
    let little = ByteOrder::Little;
    let mut cooked =
        both(sll(0, 1, &[2, 0, 0, 0, 0, 1], ETHERTYPE_IPV4), sll(4, 772, &[0; 6], ETHERTYPE_IPV6));
    let mut cooked2 = both(
        sll2(ETHERTYPE_IPV4, 0x00ff_fff1, 1, 0, &[2, 0, 0, 0, 0, 1]),
        sll2(ETHERTYPE_IPV6, 0x00ff_fff1, 65_534, 4, &[]),
    );
    for (packet_type, address) in
        [(1, &[1, 2, 3, 4][..]), (2, &[1]), (3, &[1, 2, 3, 4, 5, 6, 7, 8]), (9, &[])]
    {
        cooked.push(([sll(packet_type, 1, address, ETHERTYPE_IPV4), v4.clone()].concat(), None));
        let header = sll2(ETHERTYPE_IPV4, 0x00ff_fff1, 776, packet_type as u8, address);
        cooked2.push(([header, v4.clone()].concat(), None));
    }
    let all = [
        (
            "null",
            Link::Null,
            [both(null(2, little), null(30, little)), both(null(2, little), null(24, little))].concat(),
        ),
        ("loop", Link::Loop, both(null(2, ByteOrder::Big), null(28, ByteOrder::Big))),
        ("raw", Link::Raw, both(vec![], vec![])),
        ("ipv4", Link::Ipv4, vec![(v4.clone(), None)]),
        ("ipv6", Link::Ipv6, vec![(v6.clone(), None)]),
        ("sll", Link::Sll, cooked),
        ("sll2", Link::Sll2, cooked2),
    ];
    for (name, link, mut frames) in all {
        // Cut off in the link header and after it.
        let first = frames[0].0.clone();
        frames.extend([1, 3, 10, 15, 19, 30, 50].map(|captured| (first.clone(), Some(captured))));
        let modes = [("", "-n -t"), ("e", "-n -t -e"), ("XX", "-n -t -XX -v"), ("port", "-n -t --port 8888")];
        corpus.add(&format!("link-{name}"), pcap(link, frames).encode(), &modes)?;
    }
    Ok(())
}

/// VLAN tags: up to two are skipped.
fn tags(corpus: &mut Corpus) -> Result<()> {
    let mut frames = Vec::new();
    for (addresses, ethertype) in [(V4, ETHERTYPE_IPV4), (V6, ETHERTYPE_IPV6)] {
        let packet = segment().packet(&addresses);
        let tagged =
            |tags: &[(u16, u16)]| [ethernet([0; 6], [0; 6], tags, ethertype), packet.clone()].concat();
        for control in [0, 5, 0x0fff, 0x1005, 0x6005, 0xffff] {
            frames.push((tagged(&[(0x8100, control)]), None));
        }
        for tags in [&[0x88a8][..], &[0x9100], &[0x88a8, 0x8100], &[0x8100, 0x9100], &[0x8100; 3]] {
            frames.push((tagged(&tags.iter().map(|tag| (*tag, 7)).collect::<Vec<_>>()), None));
        }
        let double = tagged(&[(0x88a8, 1), (0x8100, 2)]);
        frames.extend([13, 15, 17, 19, 21, 23, 40].map(|captured| (double.clone(), Some(captured))));
    }
    let goldens =
        [("", "-n -t"), ("e", "-n -t -e"), ("X", "-n -t -X -e -v"), ("port", "-n -t --port 443,8888")];
    corpus.add_frames("vlan", frames, &goldens)
}

/// The same packets in each format that can hold them.
fn formats(corpus: &mut Corpus) -> Result<()> {
    let frames = vec![whole(&V4, &segment()), whole(&V6, &segment())];
    let mut packets = pcap(Link::Ethernet, frames).packets;
    packets[1].nanoseconds = 123_456_789;
    let modes = [("", "-n -tt"), ("nano", "-n -tt --nano")];
    for (name, format) in [
        ("micro", Format::Pcap),
        ("nano", Format::PcapNano),
        ("ng-nano", Format::Pcapng(Clock::NANOSECONDS)),
        ("ng-binary", Format::Pcapng(Clock { resolution: 0x80 | 20, offset: -3600 })),
        ("ng-seconds", Format::Pcapng(Clock { resolution: 0, offset: 0 })),
    ] {
        for (suffix, order) in [("little", ByteOrder::Little), ("big", ByteOrder::Big)] {
            let file = CaptureFile { format, order, ..CaptureFile::pcap(Link::Ethernet, packets.clone()) };
            corpus.add(&format!("format-{name}-{suffix}"), file.encode(), &modes)?;
        }
    }

    // Two sections; two interfaces with clocks of their own; blocks that are not packets; the other kinds of packets.
    let mut writer = Writer { bytes: Vec::new(), order: ByteOrder::Little };
    writer.section();
    writer.block(4, |writer| writer.u32s(&[0]));
    writer.interface(Link::Ethernet, 56, Clock::NANOSECONDS);
    writer.interface(Link::Ethernet, 56, Clock { resolution: 3, offset: 7200 });
    let short = Packet { data: packets[0].data[..56].to_vec(), ..packets[0].clone() };
    writer.enhanced_packet(1, 1_700_000_000_123, &short);
    writer.enhanced_packet(0, 1_700_000_000_123_456_789, &short);
    writer.block(3, |writer| {
        writer.u32s(&[short.wire_len]);
        writer.bytes.extend(&short.data);
    });
    writer.block(2, |writer| {
        writer.u16s(&[1, 0]);
        writer.u32s(&[1, 0, 56, short.wire_len]);
        writer.bytes.extend(&short.data);
    });
    writer.section();
    writer.interface(Link::Ethernet, 56, Clock { resolution: 6, offset: 0 });
    writer.enhanced_packet(0, 1_700_000_000_123_456, &short);
    corpus.add("format-ng-blocks", writer.bytes, &modes)
}

/// Whatever is whole is printed, then the fault is named.
fn broken(corpus: &mut Corpus) -> Result<()> {
    let whole = pcap(Link::Ethernet, vec![whole(&V4, &segment()); 2]);
    let bytes = whole.encode();
    let plain = [("", "-n -tt")];
    for (name, length) in [
        ("magic", 3),
        ("file-header", 20),
        ("empty", 24),
        ("header", bytes.len() - whole.packets[0].data.len() - 9),
        ("data", bytes.len() - 1),
    ] {
        corpus.add(&format!("broken-{name}"), bytes[..length].to_vec(), &plain)?;
    }
    let second = bytes.len() - whole.packets[0].data.len() - 16;
    let mut insane = bytes.clone();
    insane[second + 8..second + 12].copy_from_slice(&300_000_u32.to_le_bytes());
    corpus.add("broken-length", insane, &plain)?;
    let mut shorter = whole.clone();
    shorter.snaplen = 40;
    corpus.add("over-snaplen", shorter.encode(), &[("", "-n -t -x")])?;

    let pcapng = CaptureFile { format: Format::Pcapng(Clock::NANOSECONDS), ..whole };
    let bytes = pcapng.encode();
    corpus.add("broken-ng-block", bytes[..bytes.len() - 5].to_vec(), &plain)?;
    let mut differing = bytes.clone();
    let last = differing.len() - 4;
    differing[last] += 4;
    corpus.add("broken-ng-lengths", differing, &plain)?;
    corpus.add("broken-ng-empty", bytes[..28].to_vec(), &plain)
}

/// What `--port` selects, and what it does not.
fn selected(corpus: &mut Corpus) -> Result<()> {
    let between = |source, destination| {
        whole(&V4, &SegmentFields { source, destination, flags: ACK, payload: Vec::new(), ..segment() })
    };
    let mut fragment = Ipv4 { fragment: 0x2001, ..Ipv4::default() };
    let later = (frame(&[], &fragment.encode(SOURCE4, DESTINATION4, &segment().encode(&V4))), None);
    fragment = Ipv4 { protocol: 17, ..Ipv4::default() };
    let udp = (frame(&[], &fragment.encode(SOURCE4, DESTINATION4, &segment().encode(&V4))), None);
    let header = Ipv6 { next_header: 44, ..Ipv6::default() };
    let payload = [&fragment_header(TCP, 0, true, 1)[..], &segment().encode(&V6)].concat();
    let fragment6 = (frame(&[], &header.encode(SOURCE6, DESTINATION6, &payload)), None);
    let frames = vec![
        between(8888, 1),
        between(1, 8888),
        between(8887, 8889),
        between(8000, 1),
        between(1, 8100),
        between(7999, 8101),
        between(0, 65_535),
        later,
        udp,
        fragment6,
        whole(&V6, &segment()),
        // Captured up to the source port, and up to the destination port.
        (between(8888, 1).0, Some(36)),
        (between(1, 8888).0, Some(36)),
        (between(1, 8888).0, Some(38)),
    ];
    let goldens = [
        ("any", "-n -t"),
        ("8888", "-n -t --port 8888"),
        ("range", "-n -t --port 8000-8100"),
        ("0", "-n -t --port 0"),
    ];
    corpus.add_frames("port", frames, &goldens)
}

/// Lengths on the wire that contradict what was captured.
fn lengths(corpus: &mut Corpus) -> Result<()> {
    let mut file = pcap(Link::Ethernet, vec![whole(&V4, &segment()); 6]);
    for (packet, wire_len) in file.packets.iter_mut().zip([0, 1, 58, 262_144, 262_145, u32::MAX]) {
        packet.wire_len = wire_len;
    }
    corpus.add("lengths", file.encode(), &[("", "-n -t"), ("number", "-n -# -X"), ("e", "-n -t -e")])
}
