//! A whole session with the lines of its packets: a client and a server on one machine, a request and a response, and
//! an end by force, because the server's kernel has forgotten the connection when the client closes at last.

use bytes::BytesMut;

use super::{Explainer, segment::Segment, testing};
use crate::{
    packet::{LinkType, Packet, Timestamp},
    text::{Conversations, Printer, options::TextOptions},
};

/// 2023-11-14 00:00:00 UTC.
const MIDNIGHT: i64 = 1_699_920_000;

const TRANSCRIPT: &str = "\
// 10.96.78.213.1234 > 10.96.78.213.8888: the client opens a connection
14:07:53.220954 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [S], seq 1057661546, win 43690, options [mss 65495,sackOK,TS val 1879360564 ecr 0,nop,wscale 7], length 0
14:01:06.103599 IP 10.96.78.213.8888 > 10.96.78.213.1234: Flags [S.], seq 2496367938, ack 1057661547, win 43690, options [mss 65495,sackOK,TS val 1879360564 ecr 1879360564,nop,wscale 7], length 0
14:07:53.221003 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [.], ack 1, win 342, options [nop,nop,TS val 1879360564 ecr 1879360564], length 0
// 10.96.78.213.1234 > 10.96.78.213.8888: the connection is established; the client sends a request
14:08:18.802016 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [P.], seq 1:7, ack 1, win 342, options [nop,nop,TS val 1879386145 ecr 1879360564], length 6
14:08:18.802041 IP 10.96.78.213.8888 > 10.96.78.213.1234: Flags [.], ack 7, win 342, options [nop,nop,TS val 1879386145 ecr 1879386145], length 0
// 10.96.78.213.8888 > 10.96.78.213.1234: the server sends a response
14:08:18.802683 IP 10.96.78.213.8888 > 10.96.78.213.1234: Flags [P.], seq 1:107, ack 7, win 342, options [nop,nop,TS val 1879386146 ecr 1879386145], length 106
14:08:18.802695 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [.], ack 107, win 342, options [nop,nop,TS val 1879386146 ecr 1879386146], length 0
// 10.96.78.213.8888 > 10.96.78.213.1234: the server actively closes the connection
14:08:18.802800 IP 10.96.78.213.8888 > 10.96.78.213.1234: Flags [F.], seq 107, ack 7, win 342, options [nop,nop,TS val 1879386146 ecr 1879386146], length 0
14:08:18.842051 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [.], ack 108, win 342, options [nop,nop,TS val 1879386186 ecr 1879386146], length 0
// 10.96.78.213.1234 > 10.96.78.213.8888: the client closes its side too
14:20:49.874086 IP 10.96.78.213.1234 > 10.96.78.213.8888: Flags [F.], seq 7, ack 108, win 342, options [nop,nop,TS val 1880137218 ecr 1879386146], length 0
// 10.96.78.213.8888 > 10.96.78.213.1234: the server closes the connection by force (RST): data may have been lost
14:20:49.874107 IP 10.96.78.213.8888 > 10.96.78.213.1234: Flags [R], seq 2496368046, win 0, length 0
";

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// `HH:MM:SS.ffffff` as nanoseconds since midnight.
fn time(text: &str) -> i64 {
    let number = |at: std::ops::Range<usize>| text[at].parse::<i64>().unwrap();
    let seconds = number(0..2) * 3600 + number(3..5) * 60 + number(6..8);
    seconds * 1_000_000_000 + number(9..15) * 1000
}

/// Whether the client sends it, its flags, sequence and acknowledgment number, window, TSval and TSecr, data.
type Row = (&'static str, bool, u8, u32, u32, u16, Option<[u32; 2]>, usize);

fn packets() -> Vec<(i64, Vec<u8>)> {
    const CLIENT_ISN: u32 = 1_057_661_546;
    const SERVER_ISN: u32 = 2_496_367_938;
    let (c, s) = (|n| CLIENT_ISN + n, |n| SERVER_ISN + n);
    let rows: [Row; 11] = [
        ("14:07:53.220954", true, SYN, c(0), 0, 43690, Some([1_879_360_564, 0]), 0),
        ("14:01:06.103599", false, SYN | ACK, s(0), c(1), 43690, Some([1_879_360_564, 1_879_360_564]), 0),
        ("14:07:53.221003", true, ACK, c(1), s(1), 342, Some([1_879_360_564, 1_879_360_564]), 0),
        ("14:08:18.802016", true, PSH | ACK, c(1), s(1), 342, Some([1_879_386_145, 1_879_360_564]), 6),
        ("14:08:18.802041", false, ACK, s(1), c(7), 342, Some([1_879_386_145, 1_879_386_145]), 0),
        ("14:08:18.802683", false, PSH | ACK, s(1), c(7), 342, Some([1_879_386_146, 1_879_386_145]), 106),
        ("14:08:18.802695", true, ACK, c(7), s(107), 342, Some([1_879_386_146, 1_879_386_146]), 0),
        ("14:08:18.802800", false, FIN | ACK, s(107), c(7), 342, Some([1_879_386_146, 1_879_386_146]), 0),
        ("14:08:18.842051", true, ACK, c(7), s(108), 342, Some([1_879_386_186, 1_879_386_146]), 0),
        ("14:20:49.874086", true, FIN | ACK, c(7), s(108), 342, Some([1_880_137_218, 1_879_386_146]), 0),
        ("14:20:49.874107", false, RST, s(108), 0, 0, None, 0),
    ];
    rows.map(|(at, from_client, flags, seq, ack, window, timestamps, data_len)| {
        let (source, destination) = if from_client { (1234_u16, 8888_u16) } else { (8888, 1234) };
        let mut options = Vec::new();
        if let Some([value, echo]) = timestamps {
            let numbers = [value.to_be_bytes(), echo.to_be_bytes()].concat();
            if flags & SYN != 0 {
                options.extend([2, 4, 0xff, 0xd7, 4, 2, 8, 10]);
                options.extend(numbers);
                options.extend([1, 3, 3, 7]);
            } else {
                options.extend([1, 1, 8, 10]);
                options.extend(numbers);
            }
        }
        let mut tcp = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        tcp.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
        tcp.extend([(5 + options.len() as u8 / 4) << 4, flags]);
        tcp.extend([window.to_be_bytes(), [0; 2], [0; 2]].concat());
        tcp.extend(options);
        tcp.resize(tcp.len() + data_len, b'x');
        let mut packet = vec![0x45, 0, 0, 20 + tcp.len() as u8, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend([[10, 96, 78, 213]; 2].concat());
        packet.extend(tcp);
        (time(at), testing::ethernet_frame(&[], &packet))
    })
    .into()
}

fn print(explain: bool) -> String {
    let mut explainer = Explainer::new(16);
    let mut printer = Printer::new(TextOptions::default(), jiff::tz::TimeZone::UTC, Conversations::new(16));
    let mut out = BytesMut::new();
    for (nanoseconds, data) in &packets() {
        let time = Timestamp {
            seconds: MIDNIGHT + nanoseconds / 1_000_000_000,
            nanoseconds: nanoseconds % 1_000_000_000,
        };
        let packet = Packet { time, link_type: LinkType::Ethernet, wire_len: data.len() as u32, data };
        assert!(Segment::parse(&packet).is_some());
        if explain {
            explainer.explain(&packet, &mut out);
        }
        printer.print(&packet, &mut out);
    }
    if explain {
        explainer.finish(&mut out);
    }
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn the_transcript() {
    assert_eq!(print(true), TRANSCRIPT);
}

#[test]
fn the_lines_are_those_without_comments() {
    let lines = TRANSCRIPT.lines().filter(|line| !line.starts_with("// "));
    let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
    assert_eq!(print(false), lines);
}
