//! Packets from a seed: conversations as hosts have them, and everything that can be wrong with a packet.
//!
//! A file is a row of scenes over one set of conversations, so that an insane packet meets the state that sane ones
//! have left behind, and the other way round.

mod conversation;
mod ip;
mod link;
mod options;

use self::{conversation::Conversation, ip::IpStyle, link::LinkStyle};
use crate::{
    packets::{
        Packet,
        byte_order::ByteOrder,
        file::{CaptureFile, Clock as FileClock, Format},
        ip::Addresses,
        length,
        link::{LINKS, Link},
        tcp::SegmentFields,
    },
    random::Random,
};

/// Ports whose payload tcpdump decodes (print-tcp.c, tcp_print). What it then prints is not ours to match, so no
/// packet has one of them where a TCP header could be.
const DECODED_PORTS: [u16; 22] = [
    21, 22, 23, 25, 43, 53, 80, 139, 179, 323, 445, 554, 639, 646, 1723, 2049, 6379, 6633, 6653, 8080, 8554,
    10288,
];

/// Makes a file of about `count` packets (a scene is not broken off).
pub(super) fn file(random: &mut Random, count: usize) -> CaptureFile {
    let link = if random.one_in(2) { Link::Ethernet } else { random.pick(&LINKS) };
    let mut scenes = Scenes {
        link,
        order: random.pick(&[ByteOrder::Little, ByteOrder::Little, ByteOrder::Big]),
        clock: Clock::new(random),
        conversations: Vec::new(),
        packets: Vec::with_capacity(count + 128),
    };
    let conversations = if random.one_in(8) { random.between(100, 2000) } else { random.between(1, 20) };
    for _ in 0..conversations {
        scenes.conversations.push(Conversation::new(random, link));
    }
    let only_sane = random.one_in(6);
    while scenes.packets.len() < count {
        if only_sane { scenes.sane(random) } else { scenes.any(random) }
    }
    // A clock as most files have it, coarser and finer ones, and times that 32 bits do not hold.
    let clock = FileClock {
        resolution: random.pick(&[9, 9, 6, 6, 3, 0, 12, 0x80 | 10, 0x80 | 20, 0x80 | 40]),
        // To the years 2242 and 8307. Not before 1970, where glibc begins to reckon with daylight saving time, and not
        // beyond 9999, where our calendar ends.
        offset: random.pick(&[0, 0, 0, 3600, 1 << 33, 200_000_000_000]),
    };
    let format = random.pick(&[Format::Pcap, Format::PcapNano, Format::Pcapng(clock)]);
    // In pcap a packet is cut to the snapshot length that the file claims; in pcapng that is a fault.
    let shorter = if matches!(format, Format::Pcapng(_)) { 0 } else { random.between(40, 100) as u32 };
    let snaplen = random.pick(&[262_144, 262_144, 262_144, 0, shorter]);
    CaptureFile { format, order: scenes.order, link, snaplen, packets: scenes.packets }
}

struct Scenes {
    link: Link,
    order: ByteOrder,
    clock: Clock,
    conversations: Vec<Conversation>,
    packets: Vec<Packet>,
}

impl Scenes {
    fn any(&mut self, random: &mut Random) {
        match random.below(16) {
            0..4 => self.sane(random),
            4..7 => self.option_soup(random),
            7 => self.odd_segments(random),
            8..10 => self.odd_ip(random),
            10 => self.odd_link(random),
            11 => self.every_length(random),
            12..14 => self.mutated(random),
            14 => self.odd_lengths(random),
            _ => self.noise(random),
        }
    }

    fn next_segment(&mut self, random: &mut Random) -> (Addresses, SegmentFields) {
        let chosen = random.below(self.conversations.len());
        self.conversations[chosen].next(random)
    }

    fn push(&mut self, random: &mut Random, frame: Vec<u8>) {
        self.push_cut(random, frame, None);
    }

    /// Adds a packet of which only the first bytes were captured.
    fn push_cut(&mut self, random: &mut Random, mut frame: Vec<u8>, captured: Option<usize>) {
        self.keep_to_tcp(&mut frame);
        let wire_len = length(&frame);
        frame.truncate(captured.unwrap_or(frame.len()));
        let (seconds, nanoseconds) = self.clock.next(random);
        self.packets.push(Packet { seconds, nanoseconds, wire_len, data: frame });
    }

    /// Takes out what tcpdump prints as something else than TCP.
    fn keep_to_tcp(&self, frame: &mut [u8]) {
        keep_version(self.link, frame);
        avoid_radiotap(self.link, frame);
        avoid_decoded_ports(self.link, frame);
    }

    /// A frame around a segment, all layers in order.
    fn frame(&self, random: &mut Random, addresses: &Addresses, segment: &SegmentFields) -> Vec<u8> {
        let packet = IpStyle::sane(random, addresses).encode(&segment.encode(addresses));
        LinkStyle::sane(random, self.link, self.order, addresses.is_v4()).encode(&packet)
    }

    fn sane(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 40) {
            let (addresses, segment) = self.next_segment(random);
            let frame = self.frame(random, &addresses, &segment);
            // As `tcpdump -s` would have cut it.
            let captured = random.one_in(10).then(|| random.pick(&[54, 66, 68, 74, 96, 128]));
            self.push_cut(random, frame, captured);
        }
    }

    fn option_soup(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 20) {
            let (addresses, mut segment) = self.next_segment(random);
            options::soup(random, &mut segment);
            let frame = self.frame(random, &addresses, &segment);
            let captured = random.one_in(4).then(|| random.between(34, 110));
            self.push_cut(random, frame, captured);
        }
    }

    fn odd_segments(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 10) {
            let (addresses, mut segment) = self.next_segment(random);
            match random.below(6) {
                0 => segment.data_offset = Some(random.below(16) as u8),
                1 => segment.flags = random.u8(),
                2 => segment.reserved = random.u8(),
                3 => segment.checksum = Some(random.pick(&[0, 0xffff, 0x1234])),
                4 => segment.payload = vec![0; random.between(0, 3)],
                _ => (segment.urgent, segment.window) = (random.u16(), random.u16()),
            }
            if random.one_in(3) {
                options::soup(random, &mut segment);
            }
            let frame = self.frame(random, &addresses, &segment);
            let captured = random.one_in(4).then(|| random.below(100));
            self.push_cut(random, frame, captured);
        }
    }

    fn odd_ip(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 10) {
            let (addresses, segment) = self.next_segment(random);
            let style = IpStyle::odd(random, &addresses);
            let packet = style.encode(&segment.encode(&addresses));
            let link = LinkStyle::sane(random, self.link, self.order, addresses.is_v4());
            let mut frame = link.encode(&packet);
            if random.one_in(4) {
                // As Ethernet pads short frames, and longer.
                let padded = frame.len() + random.between(1, 20);
                frame.resize(padded.max(60), 0);
            }
            let captured = random.one_in(4).then(|| random.below(110));
            self.push_cut(random, frame, captured);
        }
    }

    fn odd_link(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 10) {
            let (addresses, segment) = self.next_segment(random);
            let style = IpStyle::sane(random, &addresses);
            let packet = style.encode(&segment.encode(&addresses));
            let frame = LinkStyle::odd(random, self.link, self.order, addresses.is_v4()).encode(&packet);
            let captured = random.one_in(3).then(|| random.below(60));
            self.push_cut(random, frame, captured);
        }
    }

    /// One packet, cut off at every length.
    fn every_length(&mut self, random: &mut Random) {
        let (addresses, mut segment) = self.next_segment(random);
        options::soup(random, &mut segment);
        segment.payload.truncate(8);
        let style = if random.one_in(3) {
            IpStyle::odd(random, &addresses)
        } else {
            IpStyle::sane(random, &addresses)
        };
        let packet = style.encode(&segment.encode(&addresses));
        let link = LinkStyle::sane(random, self.link, self.order, addresses.is_v4());
        let frame = link.encode(&packet);
        for captured in 0..=frame.len() {
            self.push_cut(random, frame.clone(), Some(captured));
        }
    }

    fn mutated(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 20) {
            let (addresses, mut segment) = self.next_segment(random);
            if random.one_in(2) {
                options::soup(random, &mut segment);
            }
            let mut frame = self.frame(random, &addresses, &segment);
            for _ in 0..random.between(1, 4) {
                let at = random.below(frame.len().min(130));
                frame[at] = match random.below(4) {
                    0 => random.u8(),
                    1 => frame[at] ^ 1 << random.below(8),
                    2 => frame[at].wrapping_add(1),
                    _ => random.pick(&[0, 1, 2, 3, 4, 0x0f, 0x7f, 0x80, 0xff]),
                };
            }
            let captured = random.one_in(5).then(|| random.below(120));
            self.push_cut(random, frame, captured);
        }
    }

    /// Lengths that contradict each other.
    fn odd_lengths(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 6) {
            let (addresses, segment) = self.next_segment(random);
            let frame = self.frame(random, &addresses, &segment);
            self.push(random, frame);
            if let Some(packet) = self.packets.last_mut() {
                let captured = length(&packet.data);
                packet.wire_len = match random.below(6) {
                    0 => 0,
                    1 => captured - 1,
                    2 => captured + 1,
                    3 => 262_144,
                    4 => 262_145,
                    _ => random.u32(),
                };
            }
        }
    }

    /// Bytes without sense after a start with sense, and packets that are not TCP.
    fn noise(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 6) {
            let (addresses, segment) = self.next_segment(random);
            let mut style = IpStyle::sane(random, &addresses);
            if random.one_in(3) {
                style.set_protocol(random.pick(&[1, 2, 17, 41, 58, 132]));
            }
            let packet = style.encode(&segment.encode(&addresses));
            let link = LinkStyle::sane(random, self.link, self.order, addresses.is_v4());
            let mut frame = link.encode(&packet);
            let sensible = random.below(80.min(frame.len()));
            let length = random.below(200);
            frame.truncate(sensible);
            frame.extend(random.bytes(length));
            self.push(random, frame);
        }
    }
}

/// The time of the packets: mostly on, at times back, and at times something that no clock shows.
struct Clock {
    seconds: u32,
    nanoseconds: u32,
    insane: bool,
}

impl Clock {
    fn new(random: &mut Random) -> Self {
        // Noon of a day, shortly before midnight, the changes of daylight saving time in Europe and America, the
        // ends of what 31 and 32 bits hold.
        let seconds = random.pick(&[
            0,
            1,
            1_700_000_000,
            1_703_980_795,
            1_711_846_795,
            1_729_990_795,
            1_710_053_995,
            1_730_613_595,
            0x7fff_fff0,
            0xffff_fff0,
        ]);
        Self { seconds, nanoseconds: random.below(1_000_000_000) as u32, insane: random.one_in(4) }
    }

    fn next(&mut self, random: &mut Random) -> (u32, u32) {
        let step = match random.below(20) {
            0 => random.below(3_000_000_000),
            1 => 0,
            2..10 => random.below(1_000_000),
            _ => random.below(50_000),
        };
        let total = u64::from(self.nanoseconds) + step as u64;
        self.seconds = self.seconds.wrapping_add((total / 1_000_000_000) as u32);
        self.nanoseconds = (total % 1_000_000_000) as u32;
        if random.one_in(200) {
            self.seconds = self.seconds.wrapping_sub(random.below(10) as u32);
        }
        if random.one_in(500) {
            self.seconds = self.seconds.wrapping_add(random.below(200_000) as u32);
        }
        if self.insane && random.one_in(50) {
            return (random.u32(), random.below(4_294_967_000) as u32);
        }
        (self.seconds, self.nanoseconds)
    }
}

/// Where the link type names the version of IP, the filter does not look at it, but what prints does: then an IPv4
/// packet is selected for what is its protocol in IPv6, and printed as whatever it is, and the other way round.
fn keep_version(link: Link, frame: &mut [u8]) {
    let Some(first) = frame.first_mut() else { return };
    match (link, *first >> 4) {
        (Link::Ipv4, 6) | (Link::Ipv6, 4) => *first ^= 0x10,
        _ => {}
    }
}

/// Takes out the hardware type after which a "cooked" frame has a radiotap header, whatever its protocol field says
/// (print-sll.c, sll_if_print).
fn avoid_radiotap(link: Link, frame: &mut [u8]) {
    const RADIOTAP: [u8; 2] = 803_u16.to_be_bytes();
    let at = match link {
        Link::Sll => 2,
        Link::Sll2 => 8,
        _ => return,
    };
    if let Some(hardware) = frame.get_mut(at..at + 2)
        && hardware == RADIOTAP
    {
        hardware[1] = 1;
    }
}

/// Changes every port that tcpdump would decode, wherever a TCP header could be taken to begin.
fn avoid_decoded_ports(link: Link, frame: &mut [u8]) {
    // After any number of tags.
    let l3_offsets: Vec<usize> = match link {
        Link::Null | Link::Loop => vec![4],
        Link::Raw | Link::Ipv4 | Link::Ipv6 => vec![0],
        Link::Sll => vec![16],
        Link::Sll2 => vec![20],
        Link::Ethernet => {
            let mut offset = 14;
            let tag = |frame: &[u8], at: usize| {
                frame
                    .get(at - 2..at)
                    .is_some_and(|bytes| matches!(bytes, [0x81, 0] | [0x88, 0xa8] | [0x91, 0]))
            };
            while tag(frame, offset) {
                offset += 4;
            }
            vec![offset]
        }
    };
    for l3_offset in l3_offsets {
        let Some(first) = frame.get(l3_offset).copied() else { continue };
        let header_length = usize::from(first & 0x0f) * 4;
        // IPv4, IPv6, and IPv6 after a fragment header.
        for l4_offset in [header_length, 40, 48].map(|length| l3_offset + length) {
            for at in [l4_offset, l4_offset + 2] {
                let Some(port) = frame.get_mut(at..at + 2) else { continue };
                if DECODED_PORTS.contains(&u16::from_be_bytes([port[0], port[1]])) {
                    port[0] ^= 0x80;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_file() {
        let encode = |seed| file(&mut Random::new(seed), 500).encode();
        assert_eq!(encode(7), encode(7));
        assert_ne!(encode(7), encode(8));
    }

    #[test]
    fn no_packet_has_a_port_that_tcpdump_decodes() {
        for seed in 0..40 {
            let file = file(&mut Random::new(seed), 300);
            for packet in &file.packets {
                let mut data = packet.data.clone();
                avoid_decoded_ports(file.link, &mut data);
                assert_eq!(data, packet.data);
            }
        }
        let mut frame = vec![0x45; 20];
        frame.extend([0, 80, 0x1f, 0x90]);
        avoid_decoded_ports(Link::Raw, &mut frame);
        assert_eq!(frame[20..], [0x80, 80, 0x9f, 0x90]);
    }
}
