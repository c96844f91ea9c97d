//! Options, flags, header errors, truncation, and relative numbers.

use anyhow::Result;

use super::{Corpus, Frame, V4, V6, segment, timestamp, whole};
use crate::packets::{
    ip::Addresses,
    tcp::{ACK, FIN, PSH, RST, SYN, SegmentFields, option},
};

pub(super) fn add(corpus: &mut Corpus) -> Result<()> {
    corpus.add_frames("options", options(), &[("", "-n -t")])?;
    corpus.add_frames("options-malformed", malformed(), &[("", "-n -t")])?;
    corpus.add_frames("options-multipath", multipath(), &[("", "-n -t")])?;
    corpus.add_frames("flags", flags(), &[("", "-n -t")])?;
    corpus.add_frames("headers", headers(), &[("", "-n -t"), ("v", "-n -t -v"), ("q", "-n -t -q")])?;
    let modes = [("", "-n -t"), ("e", "-n -t -e"), ("v", "-n -t -v"), ("q", "-n -t -q"), ("X", "-n -t -X")];
    let multipath_option = option(30, &[0x00, 0x81, 1, 2, 3, 4, 5, 6, 7, 8]);
    for (name, addresses, options) in [
        ("ipv4", V4, timestamp(7, 6)),
        ("ipv6", V6, [option(2, &[5, 180]), vec![1], option(3, &[7])].concat()),
        ("multipath", V4, multipath_option),
        ("selective", V4, [vec![1, 1], option(5, &[0, 0, 0, 1, 0, 0, 0, 9])].concat()),
    ] {
        let flags = if name == "multipath" { SYN } else { PSH | ACK };
        let whole = whole(&addresses, &SegmentFields { flags, options, ..segment() }).0;
        let frames = (1..=whole.len()).map(|captured| (whole.clone(), Some(captured))).collect();
        let modes = if name == "ipv4" { &modes[..] } else { &modes[..1] };
        corpus.add_frames(&format!("cut-{name}"), frames, modes)?;
    }
    let modes = [("", "-n -t"), ("S", "-n -t -S"), ("vv", "-n -t -vv")];
    corpus.add_frames("conversations", conversations(), &modes)
}

fn with_options(options: Vec<u8>) -> SegmentFields {
    SegmentFields { options, payload: Vec::new(), flags: ACK, ..segment() }
}

/// Each kind with each length that it may have, one too few, one too many, between two no-operations.
fn options() -> Vec<Frame> {
    let lengths: [(u8, &[u8]); 26] = [
        (2, &[2, 3, 4, 5]),
        (3, &[2, 3, 4]),
        (4, &[2, 3]),
        (5, &[2, 3, 9, 10, 11, 18, 26, 34]),
        (6, &[5, 6, 7]),
        (7, &[5, 6, 7]),
        (8, &[2, 6, 9, 10, 11]),
        (9, &[2, 3]),
        (10, &[2, 3]),
        (11, &[5, 6, 7]),
        (12, &[5, 6, 7]),
        (13, &[5, 6, 7]),
        (14, &[2, 3, 4]),
        (15, &[2, 6]),
        (18, &[2, 3]),
        (19, &[2, 17, 18, 19]),
        (20, &[2, 3, 4, 5]),
        (27, &[2, 8]),
        (28, &[2, 3, 4, 5]),
        (29, &[2, 3, 4, 5, 16, 20]),
        (34, &[2, 3, 5, 6, 7, 10, 18, 19, 20]),
        (69, &[2, 8]),
        (172, &[2, 5, 11]),
        (253, &[2, 3, 4, 6]),
        (254, &[2, 3, 4, 6, 8, 12]),
        (255, &[2, 38]),
    ];
    let mut frames = Vec::new();
    for (kind, lengths) in lengths {
        for length in lengths {
            let payload: Vec<u8> = (1..).map(|byte| byte * 7).take(usize::from(*length) - 2).collect();
            frames.push(whole(&V4, &with_options([&[1], &option(kind, &payload)[..], &[1]].concat())));
        }
    }
    // TCP Fast Open under its experimental number.
    for length in [2, 4, 6, 7, 10, 18, 20] {
        let payload: Vec<u8> = [0xf9, 0x89].into_iter().chain(0x10..).take(length).collect();
        frames.push(whole(&V4, &with_options(option(254, &payload))));
    }
    // Minutes, and all that fits.
    frames.push(whole(&V4, &with_options(option(28, &[0x80, 5]))));
    frames.push(whole(&V4, &with_options(vec![1; 40])));
    frames.push(whole(&V4, &with_options([&[0], &[2; 39][..]].concat())));
    frames
}

/// Options that end the line: lengths that cannot be, and kinds whose length is after the header.
fn malformed() -> Vec<Frame> {
    let mut frames = Vec::new();
    for kind in [2, 3, 4, 5, 6, 8, 19, 20, 28, 29, 30, 34, 99, 254] {
        for before in [&[][..], &[1], &[1, 1], &[2, 4, 5, 180]] {
            for length in [0, 1, 40, 255] {
                let options = [before, &[kind, length, 0, 0]].concat();
                frames.push(whole(&V4, &with_options(options)));
            }
        }
        // The kind is the last byte of the header; then there is payload, or there is not.
        for payload in [&[][..], &[3], &[0]] {
            let options = [1, 1, 1, kind];
            frames.push(whole(
                &V4,
                &SegmentFields { payload: payload.to_vec(), ..with_options(options.to_vec()) },
            ));
        }
        frames.push(whole(&V4, &SegmentFields { options: vec![0, 0, 0, kind], ..segment() }));
    }
    frames
}

/// Multipath TCP (RFC 8684 section 3): each subtype with each length, and the flags that go with it.
fn multipath() -> Vec<Frame> {
    let mut frames = Vec::new();
    for subtype in 0..10_u8 {
        let flags: &[u8] = match subtype {
            0 | 1 => &[SYN, SYN | ACK, ACK],
            _ => &[ACK],
        };
        let seconds: &[u8] = match subtype {
            0 => &[0x00, 0x01, 0x81],
            2 => &[0x00, 0x01, 0x05, 0x0f, 0x1f, 0x14, 0x0c],
            _ => &[0x01],
        };
        let lows: &[u8] = match subtype {
            0 => &[0, 1, 2],
            1 | 5 => &[0, 1],
            3 => &[0, 1, 4, 6],
            _ => &[0],
        };
        let all: &[u8] = match subtype {
            0 => &[3, 4, 12, 20, 22, 24],
            1 => &[11, 12, 16, 24, 26],
            2 => &[3, 4, 8, 12, 14, 16, 18, 20, 22, 24, 26, 28],
            3 => &[7, 8, 10, 16, 18, 20, 22, 26, 28, 30, 36],
            4 => &[3, 4, 5, 8],
            5 => &[3, 4, 5],
            6 | 7 => &[3, 11, 12, 13],
            _ => &[3, 4, 12],
        };
        for flags in flags {
            for low in lows {
                for second in seconds {
                    for length in all {
                        let start = [subtype << 4 | low, *second];
                        let payload: Vec<u8> =
                            start.into_iter().chain(0xa0..).take(usize::from(*length) - 2).collect();
                        let options = [&option(30, &payload)[..], &[1]].concat();
                        frames.push(whole(&V4, &SegmentFields { flags: *flags, ..with_options(options) }));
                    }
                }
            }
        }
    }
    frames
}

/// Every value of the flags, and the bits next to them.
fn flags() -> Vec<Frame> {
    let segment =
        |flags, reserved| SegmentFields { flags, reserved, urgent: 5, payload: Vec::new(), ..segment() };
    let mut frames: Vec<_> = (0..=255).map(|flags| whole(&V4, &segment(flags, 0))).collect();
    frames.extend((1..16).map(|reserved| whole(&V4, &segment(ACK, reserved))));
    frames
}

/// Data offsets that are too short and too long, with and without what they claim.
fn headers() -> Vec<Frame> {
    let mut frames = Vec::new();
    for addresses in [V4, V6] {
        for data_offset in 0..16 {
            for payload in [0, 5, 44] {
                let segment =
                    SegmentFields { data_offset: Some(data_offset), payload: vec![1; payload], ..segment() };
                frames.push(whole(&addresses, &segment));
                // Only the fixed header was captured.
                let frame = whole(&addresses, &segment).0;
                let captured = frame.len() - payload;
                frames.push((frame, Some(captured)));
            }
        }
    }
    frames
}

/// What relative numbers have to keep apart.
fn conversations() -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut push =
        |addresses: &Addresses, ports: (u16, u16), flags, sequence, acknowledgment, payload: usize| {
            let (source, destination) = ports;
            let payload = vec![b'x'; payload];
            let segment =
                SegmentFields { source, destination, flags, sequence, acknowledgment, payload, ..segment() };
            frames.push(whole(addresses, &segment));
        };
    for (addresses, high) in [(V4, 40_000), (V6, 40_000), (V4, 8888), (V6, 8888), (V4, 81)] {
        let (there, back) = ((high, 8888), (8888, high));
        let reversed = addresses.reversed();
        // First seen in the middle; then older data, and the other side.
        push(&addresses, there, PSH | ACK, 4_294_967_200, 500, 10);
        push(&addresses, there, PSH | ACK, 4_294_967_210, 500, 100);
        push(&addresses, there, PSH | ACK, 4_294_967_100, 500, 100);
        push(&reversed, back, PSH | ACK, 500, 14, 10);
        push(&reversed, back, ACK, 510, 4_294_967_250, 0);
        // The ports are used again.
        push(&addresses, there, SYN, 1_000_000, 0, 0);
        push(&addresses, there, ACK, 1_000_001, 7001, 0);
        push(&reversed, back, SYN | ACK, 7000, 1_000_001, 0);
        push(&reversed, back, SYN | ACK, 7000, 1_000_001, 0);
        push(&addresses, there, ACK, 1_000_001, 7001, 0);
        push(&addresses, there, PSH | ACK, 1_000_001, 7001, 1);
        push(&addresses, there, FIN | ACK, 1_000_002, 7001, 0);
        push(&reversed, back, RST, 7001, 0, 0);
        push(&reversed, back, RST | ACK, 7001, 1_000_003, 0);
    }
    // Selective acknowledgment is relative to the other side's numbers.
    let block = [5_u32, 105, 200, 300].map(u32::to_be_bytes).concat();
    for (source, destination, flags) in
        [(40_001, 8888, ACK), (40_001, 8888, ACK), (8888, 40_001, ACK), (8888, 40_001, RST)]
    {
        let options = option(5, &block);
        frames.push(whole(
            &V4,
            &SegmentFields { source, destination, flags, options, payload: Vec::new(), ..segment() },
        ));
    }
    frames
}
