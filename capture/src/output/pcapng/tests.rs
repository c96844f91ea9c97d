use std::net::{IpAddr, Ipv4Addr};

use capture_flow::{Endpoint, EventKind, Side};
use capture_packet::SourceId;
use test_support::packets::{
    byte_order::ByteOrder,
    file::{Writer, written},
};

use super::*;

const COMMENT_TEXT: &str = "10.0.0.1.1234 > 10.0.0.2.8888: the client sends a request";

fn interface(link_type: LinkType) -> InterfaceDescription {
    let text = |text: &str| Some(text.to_owned());
    InterfaceDescription {
        name: text("eth0"),
        filter: text("tcp port 8888"),
        hook: text("tc ingress"),
        hardware: text("a bridge"),
        os: text("Linux 6.1"),
        ..InterfaceDescription::new(link_type, 96)
    }
}

fn encoder(comments: bool) -> PcapngEncoder {
    let interfaces = [LinkType::Raw, LinkType::Ethernet, LinkType::Ethernet];
    PcapngEncoder::new(interfaces.map(interface).into(), comments)
}

fn packet(source: u32, direction: Option<Direction>, data: &[u8]) -> Packet<'_> {
    let time = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
    let link_type = if source == 0 { LinkType::Raw } else { LinkType::Ethernet };
    Packet { source: SourceId(source), direction, ..Packet::new(time, link_type, 60, data) }
}

fn event(kind: EventKind) -> Event {
    let end = |last, port| Endpoint { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port };
    Event {
        time: Timestamp { seconds: 1, nanoseconds: 2 },
        has_packet: true,
        client: end(1, 1234),
        server: end(2, 8888),
        guessed: false,
        side: Side::Client,
        established: false,
        kind,
    }
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.to_vec()
}

/// A block as test-support writes it, which knows nothing of this encoder.
fn expected(block_type: u32, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    written(ByteOrder::Little, |file| file.block(block_type, body))
}

#[test]
fn the_header_describes_the_program_and_the_interfaces() {
    let os = operating_system().unwrap();
    let expected_section = expected(0x0a0d_0d0a, |file| {
        file.u32s(&[0x1a2b_3c4d]);
        file.u16s(&[1, 0]);
        file.u32s(&[u32::MAX; 2]);
        file.option(2, ARCH.as_bytes());
        file.option(3, os.as_bytes());
        file.option(4, concat!("capture ", env!("CARGO_PKG_VERSION")).as_bytes());
        file.u32s(&[0]);
    });
    let interface = |link_type| {
        written(ByteOrder::Little, |file| {
            let options: [(u16, &[u8]); 7] = [
                (2, b"eth0"),
                (3, b"tc ingress"),
                (9, &[9]),
                (11, b"\0tcp port 8888"),
                (12, b"Linux 6.1"),
                (15, b"a bridge"),
                (0, b""),
            ];
            file.interface_with(link_type, 96, &options);
        })
    };
    let expected = [expected_section, interface(101), interface(1), interface(1)].concat();
    assert_eq!(encoder(true).header(), expected);
}

#[test]
fn what_is_not_known_of_an_interface_has_no_option() {
    let unknown = InterfaceDescription {
        filter: Some("x".repeat(1 << 16)),
        ..InterfaceDescription::new(LinkType::LinuxSll2, 0)
    };
    let expected = written(ByteOrder::Little, |file| file.interface_with(276, 0, &[(9, &[9]), (0, b"")]));
    assert_eq!(encoded(|out| describe(&unknown, out)), expected);
}

/// In full, to see it once.
#[test]
fn the_bytes_of_a_packet() {
    let written =
        encoded(|out| assert!(encoder(false).packet(&packet(1, Some(Direction::Out), b"abcde"), out)));
    let expected = [
        [6, 0, 0, 0],
        [52, 0, 0, 0],
        [1, 0, 0, 0],
        // 1 700 000 000 123 456 789 is 0x1797_9cfe_3d85_cd15.
        [0xfe, 0x9c, 0x97, 0x17],
        [0x15, 0xcd, 0x85, 0x3d],
        [5, 0, 0, 0],
        [60, 0, 0, 0],
        *b"abcd",
        [b'e', 0, 0, 0],
        [2, 0, 4, 0],
        [2, 0, 0, 0],
        [0, 0, 0, 0],
        [52, 0, 0, 0],
    ];
    assert_eq!(written, expected.as_flattened());
}

/// Every padding, with every set of options.
#[test]
fn packets_with_flags_and_comments() {
    let mut out = BytesMut::new();
    let mut encoder = encoder(true);
    for length in 0..9 {
        let data = &b"abcdefgh"[..length];
        for (direction, flags) in [(None, 0_u32), (Some(Direction::In), 1), (Some(Direction::Out), 2)] {
            for comments in 0..3 {
                out.clear();
                for _ in 0..comments {
                    encoder.event(&event(EventKind::Request), &mut out);
                }
                encoder.packet(&packet(0, direction, data), &mut out);
                let expected = expected(6, |file| {
                    file.u32s(&[0, 0x1797_9cfe, 0x3d85_cd15, length as u32, 60]);
                    file.padded(data);
                    if flags > 0 {
                        file.option(2, &flags.to_le_bytes());
                    }
                    for _ in 0..comments {
                        file.option(1, COMMENT_TEXT.as_bytes());
                    }
                    if flags > 0 || comments > 0 {
                        file.u32s(&[0]);
                    }
                });
                assert_eq!(out, expected, "{length} {direction:?} {comments}");
            }
        }
    }
}

#[test]
fn events_are_comments_only_on_request() {
    let mut encoder = encoder(false);
    let with_event = encoded(|out| {
        encoder.event(&event(EventKind::Request), out);
        encoder.packet(&packet(0, None, b""), out);
        encoder.epilogue(Some(Forgotten { connections: 1, limit: 1 }), false, out);
    });
    assert_eq!(with_event, encoded(|out| assert!(encoder.packet(&packet(0, None, b""), out))));
}

#[test]
fn what_no_packet_follows_is_a_comment_of_its_own() {
    let mut encoder = encoder(true);
    let written = encoded(|out| {
        encoder.event(&event(EventKind::Request), out);
        encoder.epilogue(Some(Forgotten { connections: 12, limit: 10 }), true, out);
        encoder.epilogue(None, true, out);
    });
    let expected = expected(5, |file| {
        file.u32s(&[0, 0, 1_000_000_002]);
        file.option(1, COMMENT_TEXT.as_bytes());
        let forgotten = "12 connections were forgotten before they ended, because only 10 are remembered";
        file.option(1, forgotten.as_bytes());
        file.u32s(&[0]);
    });
    assert_eq!(written, expected);
}

/// However many connections a capture ends with, no block is longer than readers take.
#[test]
fn comments_are_held_back_only_so_long() {
    let mut encoder = encoder(true);
    let events = 10_000;
    let written = encoded(|out| {
        for _ in 0..events {
            encoder.event(&event(EventKind::Request), out);
            assert!(encoder.comments.len() <= COMMENTS_LIMIT);
        }
        encoder.epilogue(None, false, out);
    });
    let mut rest = written.as_slice();
    while let Some(length) = rest.get(4..8) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        assert!(length < 2 * COMMENTS_LIMIT);
        rest = &rest[length..];
    }
    let comments = written.windows(COMMENT_TEXT.len()).filter(|text| *text == COMMENT_TEXT.as_bytes());
    assert_eq!(comments.count(), events);
}

#[test]
fn an_interface_that_is_not_in_the_list_is_the_first_with_its_link_type() {
    for (source, link_type, expected) in [
        (7, LinkType::Raw, Some(0)),
        (7, LinkType::Ethernet, Some(1)),
        (2, LinkType::Ethernet, Some(2)),
        (1, LinkType::Raw, Some(0)),
        (0, LinkType::Null, None),
        (7, LinkType::Null, None),
    ] {
        let mut encoder = encoder(false);
        let packet = Packet { link_type, ..packet(source, None, b"abcd") };
        let written = encoded(|out| assert_eq!(encoder.packet(&packet, out), expected.is_some()));
        let interface = written.get(8..12).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(interface, expected, "{source} {link_type}");
    }
}

/// Of an interface: dropped by it, accepted, dropped, delivered.
fn accounts(number: u32, is_last: bool, counts: [u64; 4]) -> Vec<u8> {
    expected(5, |file| {
        file.u32s(&[number, 0x1797_9cfe, 0x3d85_cd15]);
        // 5 000 000 001 is 0x1_2a05_f201.
        file.option(2, &[1, 0, 0, 0, 0x01, 0xf2, 0x05, 0x2a]);
        if is_last {
            file.option(3, &[0xfe, 0x9c, 0x97, 0x17, 0x15, 0xcd, 0x85, 0x3d]);
        }
        for (code, count) in (5..).zip(counts) {
            file.option(code, &count.to_le_bytes());
        }
        file.u32s(&[0]);
    })
}

const STATISTICS: Statistics<'_> = Statistics {
    losses_are_known: true,
    time: Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
    start: Timestamp { seconds: 5, nanoseconds: 1 },
    hooks: None,
    received: 100,
    dropped: 20,
    dropped_by_interface: 1 << 40,
    interfaces: &[],
    read: 80,
    dropped_by_output: 7,
    is_last: false,
};

/// Two packets and one that there was no room for, of the interface in this place.
fn pass(encoder: &mut PcapngEncoder, source: u32) {
    let packet = packet(source, None, b"abcd");
    for _ in 0..2 {
        assert!(encoder.packet(&packet, &mut BytesMut::new()));
    }
    encoder.dropped(&packet);
}

/// What waits in the rings is in none but the last ones.
#[test]
fn the_accounts_of_the_only_interface_are_those_of_the_capture() {
    let mut encoder = PcapngEncoder::new(vec![interface(LinkType::Raw)], false);
    pass(&mut encoder, 0);
    for (is_last, accepted) in [(false, 23), (true, 100)] {
        let statistics = Statistics { is_last, ..STATISTICS };
        let expected = accounts(0, is_last, [1 << 40, accepted, 20, 2]);
        assert_eq!(encoded(|out| encoder.statistics(&statistics, out)), expected);
        assert_eq!(encoder.trailer(), expected);
    }
}

/// Those of an interface come when they have changed, and in the end; what a file ends with has all.
#[test]
fn each_interface_has_its_accounts() {
    let mut encoder = encoder(false);
    let losses = |dropped, dropped_by_interface| InterfaceLosses { dropped, dropped_by_interface };
    let written = |encoder: &mut PcapngEncoder, interfaces: &[InterfaceLosses], is_last| {
        let statistics = Statistics { interfaces, is_last, ..STATISTICS };
        encoded(|out| encoder.statistics(&statistics, out))
    };
    assert!(written(&mut encoder, &[], false).is_empty());
    assert_eq!(encoder.trailer(), [0, 1, 2].map(|number| accounts(number, false, [0; 4])).concat());
    pass(&mut encoder, 1);
    let second = accounts(1, false, [3, 3 + 9, 9, 2]);
    let known = [losses(0, 0), losses(9, 3)];
    assert_eq!(written(&mut encoder, &known, false), second);
    assert!(written(&mut encoder, &known, false).is_empty());
    let third = accounts(2, false, [0, 4, 4, 0]);
    let known = [losses(0, 0), losses(9, 3), losses(4, 0)];
    assert_eq!(written(&mut encoder, &known, false), third);
    let all = [accounts(0, false, [0; 4]), second, third].concat();
    assert_eq!(encoder.trailer(), all);
    let last = [[0; 4], [3, 12, 9, 2], [0, 4, 4, 0]];
    let last: Vec<_> = (0..).zip(last).map(|(number, counts)| accounts(number, true, counts)).collect();
    assert_eq!(written(&mut encoder, &known, true), last.concat());
}

/// As when the one interface gets another name: what was known of it stays, and is not told again.
#[test]
fn the_accounts_of_the_first_interface_go_on_when_there_is_a_second() {
    let mut encoder = PcapngEncoder::new(vec![interface(LinkType::Raw)], false);
    pass(&mut encoder, 0);
    encoder.statistics(&STATISTICS, &mut BytesMut::new());
    encoder.interface(&interface(LinkType::Raw), &mut BytesMut::new());
    let known = [InterfaceLosses { dropped: 20, dropped_by_interface: 1 << 40 }, InterfaceLosses::default()];
    let statistics = Statistics { interfaces: &known, ..STATISTICS };
    assert!(encoded(|out| encoder.statistics(&statistics, out)).is_empty());
    let before = packet(0, None, b"abcd");
    let told = encoded(|out| assert!(encoder.packet(&before, out)));
    assert!(told.windows(8).any(|bytes| bytes == ((1_u64 << 40) + 21).to_le_bytes()));
    let untold = encoded(|out| assert!(encoder.packet(&before, out)));
    assert_eq!(untold.len(), told.len() - 16);
}

/// 2106 and 2554 lie before and after what 32 bits of seconds hold; 64 bits of nanoseconds hold both.
#[test]
fn times_have_64_bits() {
    for (seconds, nanoseconds, expected) in [
        (1 << 32, 7, (1_u64 << 32) * 1_000_000_000 + 7),
        (18_446_744_073, 709_551_615, u64::MAX),
        (0, 5_000_000_000, 5_000_000_000),
        (-1, 999_999_999, u64::MAX),
    ] {
        let [high, low] = time_words(Timestamp { seconds, nanoseconds }, 9);
        assert_eq!(u64::from(high) << 32 | u64::from(low), expected);
    }
}

/// Once, at the packet after they are known, however they are lost; and before comments.
#[test]
fn losses_are_told_at_the_next_packet() {
    let mut encoder = PcapngEncoder::new(vec![interface(LinkType::Raw)], true);
    let known = |dropped, dropped_by_interface, dropped_by_output: u64| {
        let statistics =
            Statistics { losses_are_known: true, dropped, dropped_by_interface, ..Statistics::default() };
        (statistics, dropped_by_output)
    };
    let mut dropped = 0;
    let mut losses = |encoder: &mut PcapngEncoder, known: &[(Statistics<'_>, u64)], told: Option<u64>| {
        for (statistics, dropped_by_output) in known {
            (dropped..*dropped_by_output).for_each(|_| encoder.dropped(&packet(0, None, b"abcd")));
            dropped = *dropped_by_output;
            encoder.statistics(statistics, &mut BytesMut::new());
        }
        encoder.event(&event(EventKind::Request), &mut BytesMut::new());
        let written = encoded(|out| assert!(encoder.packet(&packet(0, Some(Direction::In), b"abcd"), out)));
        let expected = expected(6, |file| {
            file.u32s(&[0, 0x1797_9cfe, 0x3d85_cd15, 4, 60]);
            file.padded(b"abcd");
            file.option(2, &1_u32.to_le_bytes());
            told.iter().for_each(|count| file.option(4, &count.to_le_bytes()));
            file.option(1, COMMENT_TEXT.as_bytes());
            file.u32s(&[0]);
        });
        assert_eq!(written, expected);
    };
    losses(&mut encoder, &[known(0, 0, 0)], None);
    losses(&mut encoder, &[known(3, 0, 0), known(3, 2, 1)], Some(6));
    losses(&mut encoder, &[known(3, 2, 1)], None);
    encoder.lost(5);
    losses(&mut encoder, &[known(4, 2, 1)], Some(6));
    losses(&mut encoder, &[], None);
    encoder.lost(u64::MAX);
    encoder.lost(1);
    losses(&mut encoder, &[], Some(u64::MAX));
}

#[test]
fn times_have_the_digits_of_their_interface() {
    for (digits, expected) in [(9, 5_123_456_789_u64), (8, 512_345_678), (6, 5_123_456), (3, 5123), (0, 5)] {
        let [high, low] = time_words(Timestamp { seconds: 5, nanoseconds: 123_456_789 }, digits);
        assert_eq!(u64::from(high) << 32 | u64::from(low), expected);
    }
    let [high, low] = time_words(Timestamp { seconds: -1, nanoseconds: 999_999_999 }, 6);
    assert_eq!(u64::from(high) << 32 | u64::from(low), u64::MAX);
}
