//! Conversations as hosts have them: handshakes, data both ways, retransmissions, wraps of the sequence numbers, ends
//! of all kinds, ports used again, and beginnings that were not seen.

use crate::{
    packets::{
        ip::Addresses,
        link::Link,
        tcp::{ACK, FIN, PSH, RST, SYN, SegmentFields, URG, option},
    },
    random::Random,
};

/// One conversation. Index 0 is the client, 1 the server.
pub(super) struct Conversation {
    addresses: Addresses,
    ports: [u16; 2],
    /// The next sequence number of each side.
    next: [u32; 2],
    /// What each side has acknowledged.
    acknowledged: [u32; 2],
    timestamps: bool,
    clock: u32,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Syn,
    SynAck,
    Ack,
    Established,
}

impl Conversation {
    pub(super) fn new(random: &mut Random, link: Link) -> Self {
        let v4 = match link {
            Link::Ipv4 => true,
            Link::Ipv6 => false,
            _ => random.below(3) != 0,
        };
        let client = random.pick(&[1234, 32_768, 40_000, 60_999, 8888, 9000, 0, 65_535]);
        // Both sides may have the same port, and the same address.
        let client = if random.one_in(3) { random.u16() } else { client };
        let server =
            if random.one_in(4) { random.u16() } else { random.pick(&[8888, 8888, 443, 9000, 8100]) };
        let mut conversation = Self {
            addresses: addresses(random, v4),
            ports: [client, server],
            next: [0, 0],
            acknowledged: [0, 0],
            timestamps: !random.one_in(4),
            clock: random.u32(),
            // One in three is first seen in the middle.
            stage: if random.one_in(3) { Stage::Established } else { Stage::Syn },
        };
        conversation.restart(random);
        conversation
    }

    fn restart(&mut self, random: &mut Random) {
        for side in 0..2 {
            // Often about to wrap.
            let before_wrap = 0_u32.wrapping_sub(random.below(3000) as u32);
            self.next[side] = if random.one_in(3) { before_wrap } else { random.u32() };
        }
        self.acknowledged = [self.next[1], self.next[0]];
    }

    /// What is seen next.
    pub(super) fn next(&mut self, random: &mut Random) -> (Addresses, SegmentFields) {
        self.clock = self.clock.wrapping_add(random.below(2000) as u32);
        let (side, segment) = match self.stage {
            Stage::Syn => {
                self.stage = Stage::SynAck;
                (0, self.handshake(random, 0, SYN))
            }
            Stage::SynAck => {
                if random.one_in(10) {
                    // The SYN once more.
                    self.next[0] = self.next[0].wrapping_sub(1);
                    (0, self.handshake(random, 0, SYN))
                } else {
                    self.stage = Stage::Ack;
                    self.acknowledged[1] = self.next[0];
                    (1, self.handshake(random, 1, SYN | ACK))
                }
            }
            Stage::Ack => {
                self.stage = Stage::Established;
                self.acknowledged[0] = self.next[1];
                (0, self.segment(random, 0, ACK, 0))
            }
            Stage::Established => self.established(random),
        };
        let addresses = if side == 0 { self.addresses } else { self.addresses.reversed() };
        (addresses, segment)
    }

    fn handshake(&mut self, random: &mut Random, side: usize, flags: u8) -> SegmentFields {
        let mut segment = self.segment(random, side, flags, 0);
        self.next[side] = self.next[side].wrapping_add(1);
        segment.window = random.pick(&[65_535, 64_240, 43_690, 0]);
        let timestamp = [self.clock.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        segment.options = [
            option(2, &random.pick(&[65_495_u16, 1460, 1440, 536]).to_be_bytes()),
            option(4, &[]),
            if self.timestamps { option(8, &timestamp) } else { vec![1, 1] },
            vec![1],
            option(3, &[random.pick(&[0, 7, 14])]),
        ]
        .concat();
        segment
    }

    fn established(&mut self, random: &mut Random) -> (usize, SegmentFields) {
        let side = random.below(2);
        let mut segment = match random.below(24) {
            0..9 => {
                let length = self.payload_length(random);
                let flags = if random.one_in(3) { ACK } else { PSH | ACK };
                let segment = self.segment(random, side, flags, length);
                self.next[side] = self.next[side].wrapping_add(length as u32);
                segment
            }
            9..14 => {
                self.acknowledged[side] = self.next[1 - side];
                self.segment(random, side, ACK, 0)
            }
            14 | 15 => {
                // A retransmission.
                let length = random.between(1, 100);
                let mut segment = self.segment(random, side, PSH | ACK, length);
                segment.sequence = self.next[side].wrapping_sub(random.between(length, 4000) as u32);
                segment
            }
            16 => {
                // Something before it is missing.
                let mut segment = self.segment(random, side, ACK, 10);
                segment.sequence = self.next[side].wrapping_add(random.below(3000) as u32);
                segment
            }
            17 => {
                // A keep-alive.
                let length = random.below(2);
                let mut segment = self.segment(random, side, ACK, length);
                segment.sequence = self.next[side].wrapping_sub(1);
                segment
            }
            18 => self.selective(random, side),
            19 => {
                let mut segment = self.segment(random, side, ACK, 0);
                segment.window = 0;
                segment
            }
            20 => {
                let mut segment = self.segment(random, side, PSH | ACK | URG, 1);
                segment.urgent = random.u16();
                segment
            }
            21 => {
                let length = random.pick(&[0, 0, 20]);
                let segment = self.segment(random, side, FIN | ACK, length);
                self.next[side] = self.next[side].wrapping_add(1 + segment.payload.len() as u32);
                segment
            }
            22 => {
                let flags = random.pick(&[RST, RST | ACK]);
                let length = random.pick(&[0, 0, 0, 11, 40]);
                self.segment(random, side, flags, length)
            }
            _ => {
                // The ports are used again.
                self.stage = Stage::Syn;
                self.restart(random);
                self.segment(random, side, ACK, 0)
            }
        };
        if segment.flags & ACK == 0 && random.one_in(2) {
            segment.acknowledgment = 0;
        }
        (side, segment)
    }

    fn payload_length(&self, random: &mut Random) -> usize {
        match random.below(40) {
            0 => random.between(1000, 1460),
            1 if self.addresses.is_v4() => 65_000,
            2..10 => random.between(1, 4),
            _ => random.between(1, 60),
        }
    }

    fn selective(&mut self, random: &mut Random, side: usize) -> SegmentFields {
        let mut segment = self.segment(random, side, ACK, 0);
        let mut edges = Vec::new();
        for _ in 0..random.between(1, 3) {
            let start = self.next[1 - side].wrapping_add(random.below(4000) as u32);
            edges.extend(start.to_be_bytes());
            edges.extend(start.wrapping_add(random.below(2000) as u32).to_be_bytes());
        }
        segment.options.extend([1, 1]);
        segment.options.extend(option(5, &edges));
        segment
    }

    fn segment(&self, random: &mut Random, side: usize, flags: u8, length: usize) -> SegmentFields {
        let mut options = Vec::new();
        if self.timestamps {
            options.extend([1, 1]);
            let other = self.clock.wrapping_sub(random.below(500) as u32);
            options.extend(option(8, &[self.clock.to_be_bytes(), other.to_be_bytes()].concat()));
        }
        SegmentFields {
            source: self.ports[side],
            destination: self.ports[1 - side],
            sequence: self.next[side],
            acknowledgment: if flags & ACK != 0 || random.one_in(8) { self.acknowledged[side] } else { 0 },
            flags,
            window: if random.one_in(4) { random.u16() } else { 342 },
            options,
            payload: payload(random, length),
            ..SegmentFields::default()
        }
    }
}

/// Text, or any bytes.
fn payload(random: &mut Random, length: usize) -> Vec<u8> {
    const TEXT: &[u8] =
        b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\nhello, world\n\tcaf\xc3\xa9 \x1b[31m\x07\x00 ~";
    if random.one_in(2) {
        return random.bytes(length);
    }
    TEXT.iter().copied().cycle().skip(random.below(TEXT.len())).take(length).collect()
}

fn addresses(random: &mut Random, v4: bool) -> Addresses {
    if v4 {
        let mut address = || match random.below(5) {
            0 => [127, 0, 0, 1],
            1 => [10, 0, 0, random.u8()],
            2 => random.pick(&[[0; 4], [255; 4], [224, 0, 0, 1]]),
            3 => [192, 168, random.below(3) as u8, 1],
            _ => random.array(),
        };
        Addresses::V4(address(), address())
    } else {
        Addresses::V6(ipv6_address(random), ipv6_address(random))
    }
}

/// Addresses of every form that their text can take: where zeros are left out, and where the end is dotted.
fn ipv6_address(random: &mut Random) -> [u8; 16] {
    let mut address = [0; 16];
    match random.below(8) {
        0 => address[15] = 1,
        1 => address[12..].copy_from_slice(&random.array::<4>()),
        2 => {
            address[10..12].copy_from_slice(&[0xff, 0xff]);
            address[12..].copy_from_slice(&random.array::<4>());
        }
        3 => address = random.array(),
        4 => address[14..].copy_from_slice(&random.array::<2>()),
        _ => {
            // Each group none, small or any.
            for group in address.chunks_mut(2) {
                match random.below(3) {
                    0 => {}
                    1 => group[1] = random.u8(),
                    _ => group.copy_from_slice(&random.array::<2>()),
                }
            }
        }
    }
    address
}
