//! TCP options: every kind that tcpdump knows and others, with right and wrong lengths.

use crate::{
    packets::tcp::{ACK, SYN, SegmentFields},
    random::Random,
};

/// The most an options field can hold.
const ROOM: usize = 40;

/// Puts options into a segment, some of which may be nonsense.
pub(super) fn soup(random: &mut Random, segment: &mut SegmentFields) {
    let mut options = Vec::new();
    let wanted = random.between(1, ROOM);
    if random.one_in(4) {
        segment.flags = random.pick(&[SYN, SYN | ACK, ACK]);
    }
    while options.len() < wanted {
        one(random, &mut options);
    }
    options.truncate(ROOM);
    // Padded with zeros (end of options) if nothing is done; here at times with something else.
    let padding = options.len().next_multiple_of(4) - options.len();
    if random.one_in(2) {
        let filler = random.pick(&[1, 1, 0, 2, 8, 30, 255]);
        options.extend(vec![filler; padding]);
    }
    segment.options = options;
    if random.one_in(3) {
        let length = random.between(0, 3);
        segment.payload = random.bytes(length);
    }
}

fn one(random: &mut Random, options: &mut Vec<u8>) {
    let kind = if random.one_in(12) {
        random.u8()
    } else {
        random.pick(&[
            0, 1, 1, 1, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 20, 28, 28, 29, 29,
            30, 30, 30, 30, 30, 34, 34, 69, 172, 174, 253, 254, 254,
        ])
    };
    options.push(kind);
    if kind <= 1 && !random.one_in(40) {
        return;
    }
    if random.one_in(40) {
        // No length.
        return;
    }
    let usual: &[u8] = match kind {
        2 => &[4],
        3 => &[3],
        4 => &[2],
        5 => &[10, 18, 26, 34, 2, 11],
        6 | 7 | 11 | 12 | 13 => &[6],
        8 => &[10],
        14 => &[3],
        19 => &[18],
        20 | 28 => &[4],
        29 => &[4, 16, 20, 3, 5],
        30 => &[3, 4, 6, 8, 10, 12, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30],
        34 => &[2, 6, 10, 18, 3, 4, 5, 20],
        253 | 254 => &[2, 3, 4, 5, 6, 8, 12, 20, 22],
        _ => &[2, 3, 4, 8],
    };
    let length = match random.below(10) {
        0 => random.below(42) as u8,
        1 => random.pick(usual).wrapping_add(random.pick(&[1, 255])),
        2 => random.pick(&[0, 1, 2, 255]),
        _ => random.pick(usual),
    };
    options.push(length);
    let mut payload = match random.below(3) {
        0 => random.bytes(40),
        1 => vec![0; 40],
        _ => (0..40).map(|_| random.pick(&[0, 0, 1, 0x0f, 0x80, 0xff])).collect(),
    };
    match kind {
        30 => multipath(random, &mut payload),
        // The magic number of TCP Fast Open (RFC 7413 appendix A).
        254 if random.one_in(2) => payload[..2].copy_from_slice(&[0xf9, 0x89]),
        _ => {}
    }
    options.extend(payload.iter().take(usize::from(length.saturating_sub(2))));
}

/// The first bytes of a Multipath TCP option (RFC 8684 section 3): a subtype, and a version or flags.
fn multipath(random: &mut Random, payload: &mut [u8]) {
    let subtype = random.below(10) as u8;
    let low = match subtype {
        0 => random.pick(&[0, 1, 1, 2]),
        3 => random.pick(&[0, 1, 4, 6, 15]),
        _ => random.u8() & 0x0f,
    };
    payload[0] = subtype << 4 | low;
    if random.one_in(2) {
        payload[1] = random.u8() & 0x1f;
    }
}
