//! Random packets: the lines stay what they are, no comment is about another connection, and nothing panics.

use std::{collections::BTreeSet, net::SocketAddr};

use bytes::BytesMut;
use capture_flow::Tracker;
use capture_packet::{LinkType, Packet, Timestamp};
use capture_text::{
    Conversations, Printer,
    comments::write_comment,
    options::{Dump, TextOptions, TimestampStyle},
};
use jiff::tz::TimeZone;
use test_support::{
    packets::link,
    random::Random,
    sketch::{CLIENT, SERVER, Sketch, at},
};

/// A segment of one of a few connections, with numbers near to each other, so that it often makes sense.
fn sketch(random: &mut Random, time: i64) -> Sketch {
    let from = random.pick(&[CLIENT, SERVER]);
    let flags = random.pick(&[".", ".", ".", ".", "P.", "P.", "S", "S.", "F.", "F.", "R", "R.", "SF", "P"]);
    let seq = if random.one_in(20) { random.u32() } else { random.below(4) as u32 * 10 };
    let ack = if random.one_in(20) { random.u32() } else { random.below(5) as u32 * 10 };
    let mut sketch = at(time, from, flags, seq, ack).data(random.pick(&[0, 0, 1, 10, 10, 20]));
    if random.one_in(10) {
        sketch = sketch.win(0);
    }
    if random.one_in(3) {
        sketch = sketch.no_ts();
    }
    let client = 50_000 + random.below(6) as u16;
    let move_client = |endpoint: SocketAddr| {
        if endpoint == CLIENT.endpoint() { SocketAddr::new(endpoint.ip(), client) } else { endpoint }
    };
    sketch.between(sketch.endpoints.map(move_client))
}

/// A frame, whole or cut off, with a byte changed here and there, and how long it was on the wire.
fn frame(random: &mut Random, time: i64) -> (Vec<u8>, usize) {
    let sketch = sketch(random, time);
    let body = if random.one_in(4) { sketch.ipv6() } else { sketch.ipv4() };
    let tags = random.pick(&[&[][..], &[], &[0x8100], &[0x88a8, 0x8100], &[0x8100, 0x8100, 0x8100]]);
    let mut frame = link::frame(tags, &body);
    if random.one_in(5) {
        for _ in 0..=random.below(3) {
            let at = random.below(frame.len());
            frame[at] = random.u8();
        }
    }
    let wire_len = frame.len();
    if random.one_in(8) {
        frame.truncate(random.below(wire_len));
    }
    (frame, wire_len)
}

fn options() -> [TextOptions; 7] {
    let default = TextOptions::default();
    [
        default,
        TextOptions { verbosity: 1, ..default },
        TextOptions { verbosity: 3, link_header: true, ..default },
        TextOptions { quiet: true, timestamp: TimestampStyle::None, ..default },
        TextOptions { dump: Dump::Hex { link_header: true }, number: true, ..default },
        TextOptions {
            dump: Dump::HexAscii { link_header: false },
            timestamp: TimestampStyle::Epoch,
            ..default
        },
        TextOptions { timestamp: TimestampStyle::SincePrevious, absolute_sequence: true, ..default },
    ]
}

#[test]
fn without_its_comments_the_output_is_the_same() {
    let mut wordings = BTreeSet::new();
    for (seed, options) in (1..).zip(options().into_iter().cycle().take(140)) {
        let mut random = Random::new(seed);
        let mut tracker = Tracker::new(random.pick(&[1, 3, 100]));
        let mut plain = (Printer::new(options, TimeZone::UTC, Conversations::new(100)), BytesMut::new());
        let mut explained = (Printer::new(options, TimeZone::UTC, Conversations::new(100)), BytesMut::new());
        let mut time = 0;
        for _ in 0..300 {
            time += i64::from(random.pick(&[0, 0, 1, 5, 20, 300, 3000, 40_000]));
            let (frame, wire_len) = frame(&mut random, time);
            let stamp =
                Timestamp { seconds: 1_700_000_000 + time / 1000, nanoseconds: time % 1000 * 1_000_000 + 1 };
            let packet = Packet::new(stamp, LinkType::Ethernet, wire_len as u32, &frame).located();
            plain.0.print(&packet, &mut plain.1);
            let comments_from = explained.1.len();
            tracker.track(&packet, |event| write_comment(event, &mut explained.1));
            let line_from = explained.1.len();
            explained.0.print(&packet, &mut explained.1);
            let text = str::from_utf8(&explained.1[comments_from..]).unwrap();
            let (comments, line) = text.split_at(line_from - comments_from);
            for comment in comments.lines() {
                let (ends, text) = comment.strip_prefix("// ").unwrap().split_once(": ").unwrap();
                assert!(line.contains(ends) || text.contains("no answer to its SYN"), "{comment}\n{line}");
                wordings.insert(text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>());
            }
        }
        tracker.finish(|event| write_comment(event, &mut explained.1));
        let explained = str::from_utf8(&explained.1).unwrap();
        let lines = explained.split_inclusive('\n').filter(|line| !line.starts_with("// "));
        assert_eq!(lines.collect::<String>(), str::from_utf8(&plain.1).unwrap(), "seed {seed}");
    }
    // It is not by silence that the lines are the same.
    assert!(wordings.len() > 30, "{wordings:#?}");
}

/// Bytes that were never a packet.
#[test]
fn noise() {
    const LINK_TYPES: [LinkType; 8] = [
        LinkType::Ethernet,
        LinkType::Raw,
        LinkType::Ipv4,
        LinkType::Ipv6,
        LinkType::Null,
        LinkType::Loop,
        LinkType::LinuxSll,
        LinkType::LinuxSll2,
    ];
    let mut random = Random::new(7);
    let mut tracker = Tracker::new(3);
    let mut out = BytesMut::new();
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = (0..random.below(100)).map(|_| random.u8()).collect();
        let link_type = random.pick(&LINK_TYPES);
        // Half of them look like an IPv4 packet with TCP, more or less.
        let looks = [(0, 0x45), (2, 0), (3, 50), (6, 0), (7, 0), (9, 6), (32, 0x50), (33, 0x10)];
        if random.one_in(2) {
            for (at, value) in looks {
                if !random.one_in(8) && at < bytes.len() {
                    bytes[at] = value;
                }
            }
        }
        let wire_len = random.below(200) as u32;
        let time = i64::from(random.u32()) << random.below(40);
        let time = Timestamp {
            seconds: time.div_euclid(1_000_000_000),
            nanoseconds: time.rem_euclid(1_000_000_000),
        };
        tracker.track(&Packet::new(time, link_type, wire_len, &bytes).located(), |event| {
            write_comment(event, &mut out)
        });
    }
    tracker.finish(|event| write_comment(event, &mut out));
    assert!(!out.is_empty());
    assert!(str::from_utf8(&out).unwrap().lines().all(|line| line.starts_with("// ")));
}
