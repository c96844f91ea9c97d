//! Random packets in which expressions find what they ask for: few addresses, few ports, all that can stand between.

use test_support::{
    packets::{
        byte_order::ByteOrder,
        ip::{Ipv4, Ipv6, fragment_header},
        link::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link},
    },
    random::Random,
};

pub(crate) const PORTS: [u16; 8] = [22, 53, 80, 443, 1024, 1234, 8080, 8888];
pub(crate) const PROTOCOLS: [u8; 10] = [1, 2, 6, 9, 17, 44, 58, 103, 112, 132];
pub(crate) const VLANS: [u16; 5] = [0, 5, 100, 200, 4095];

/// 10.0.0.0 to 10.0.0.3, rarely another one that expressions name.
pub(crate) fn ipv4_address(random: &mut Random) -> [u8; 4] {
    match random.below(12) {
        0 => [255; 4],
        1 => [224, 0, 0, random.u8() & 3],
        2 => [192, 168, random.u8() & 1, random.u8() & 3],
        3 => [0; 4],
        4 => random.pick(&[[192, 168, 1, 5], [172, 16, 3, 4]]),
        _ => [10, 0, random.u8() & 1, random.u8() & 3],
    }
}

/// 2001:db8::0 to ::3, rarely another one.
pub(crate) fn ipv6_address(random: &mut Random) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(match random.below(8) {
        0 => &[0xff, 2, 0, 0],
        1 => &[0xfe, 0x80, 0, 0],
        _ => &[0x20, 1, 0x0d, 0xb8],
    });
    address[7] = random.u8() & random.pick(&[0, 0, 1]);
    address[15] = random.u8() & 3;
    address
}

/// 02:00:00:00:00:00 to :03, rarely a group.
pub(crate) fn mac_address(random: &mut Random) -> [u8; 6] {
    match random.below(8) {
        0 => [0xff; 6],
        1 => [1, 0, 0x5e, 0, 0, random.u8() & 3],
        _ => [2, 0, 0, 0, 0, random.u8() & 3],
    }
}

fn transport(random: &mut Random) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(random.pick(&PORTS).to_be_bytes());
    payload.extend(random.pick(&PORTS).to_be_bytes());
    payload.extend(random.bytes(8));
    payload.push(random.pick(&[0x50, 0x60, 0x80, 0xf0]));
    let any = random.u8();
    payload.push(random.pick(&[2, 0x12, 0x10, 0x18, 4, 1, any]));
    let more = random.between(6, 80);
    payload.extend(random.bytes(more));
    payload
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let option_words = random.pick(&[0, 0, 0, 1, 3, 10]);
    let options = random.bytes(4 * option_words);
    let header = Ipv4 {
        version: if random.one_in(30) { random.u8() & 15 } else { 4 },
        header_length: random.one_in(20).then(|| random.u8() & 15),
        tos: random.u8(),
        total_length: random.one_in(10).then(|| random.pick(&[0x800, 0x86dd, 0x8100, 40])),
        fragment: random.pick(&[0x4000, 0x4000, 0, 0x2000, 0x2003, 3, 0x1000]),
        protocol: if random.one_in(3) { random.pick(&PROTOCOLS) } else { 6 },
        ttl: random.u8(),
        id: random.u16(),
        options,
        ..Ipv4::default()
    };
    let (source, destination) = (ipv4_address(random), ipv4_address(random));
    header.encode(source, destination, &transport(random))
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let protocol = if random.one_in(3) { random.pick(&PROTOCOLS) } else { 6 };
    let mut payload = transport(random);
    let mut next_header = protocol;
    match random.below(5) {
        0 => {
            let fragment = fragment_header(protocol, random.pick(&[0, 8, 1000]), random.one_in(2), 7);
            payload.splice(0..0, fragment);
            next_header = 44;
        }
        1 => {
            payload.splice(0..0, [protocol, 0, 1, 4, 0, 0, 0, 0]);
            next_header = 0;
        }
        _ => {}
    }
    let header = Ipv6 {
        version: if random.one_in(30) { random.u8() & 15 } else { 6 },
        traffic_class: random.u8(),
        flow_label: random.u32(),
        next_header,
        ..Ipv6::default()
    };
    let (source, destination) = (ipv6_address(random), ipv6_address(random));
    header.encode(source, destination, &payload)
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1];
    for _ in 0..2 {
        bytes.extend(mac_address(random));
        bytes.extend(ipv4_address(random));
    }
    bytes.extend(random.bytes(40));
    bytes
}

fn llc(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(5) {
        0 => vec![0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b],
        1 => vec![0xaa, 0xaa, 3, 0, 0, 0, 0x80, 0xf3],
        2 => vec![0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37],
        3 => vec![0xff, 0xff, 3],
        _ => {
            let point = random.pick(&[0x42, 0xfe, 0xf0, 6, 0xe0, 100]);
            vec![point, random.pick(&[point, 0]), 3]
        }
    };
    bytes.extend(random.bytes(60));
    bytes
}

/// An Ethernet type and what it announces.
fn network(random: &mut Random, is_ethernet: bool) -> (u16, Vec<u8>) {
    match random.below(16) {
        0 => (0x0806, arp(random)),
        1 => (0x8035, arp(random)),
        2 => {
            let number = if is_ethernet { random.pick(&[60, 100, 1500]) } else { random.pick(&[1, 4, 4]) };
            (number, llc(random))
        }
        3 => (random.pick(&[0x8847, 0x809b, 0x80f3, 0x8137, 0x88cc]), ipv4(random)),
        4..=6 => (ETHERTYPE_IPV6, ipv6(random)),
        7 => (ETHERTYPE_IPV6, ipv4(random)),
        8 => (ETHERTYPE_IPV4, ipv6(random)),
        _ => (ETHERTYPE_IPV4, ipv4(random)),
    }
}

/// The types and control fields of the tags of an Ethernet frame.
pub(crate) fn tags(random: &mut Random) -> Vec<(u16, u16)> {
    let count = random.pick(&[0, 0, 0, 1, 1, 2, 3]);
    (0..count)
        .map(|_| {
            let control = random.pick(&VLANS) | if random.one_in(3) { random.u16() & 0xf000 } else { 0 };
            (random.pick(&[0x8100, 0x8100, 0x88a8, 0x9100]), control)
        })
        .collect()
}

/// An Ethernet frame with these tags.
pub(crate) fn ethernet(random: &mut Random, tags: &[(u16, u16)]) -> Vec<u8> {
    let (ethertype, payload) = network(random, true);
    let (destination, source) = (mac_address(random), mac_address(random));
    [link::ethernet(destination, source, tags, ethertype), payload].concat()
}

/// A packet of a file of this link type and byte order.
pub(crate) fn packet(random: &mut Random, link: Link, order: ByteOrder) -> Vec<u8> {
    let is_v6 = random.one_in(3);
    let ip = if is_v6 { ipv6(random) } else { ipv4(random) };
    let header = match link {
        Link::Ethernet => {
            let tags = tags(random);
            return ethernet(random, &tags);
        }
        Link::Raw | Link::Ipv4 | Link::Ipv6 => Vec::new(),
        Link::Null | Link::Loop => {
            let family = match random.below(8) {
                0 => 10,
                1 => random.u32() & 31,
                _ if is_v6 => random.pick(&[24, 28, 30]),
                _ => 2,
            };
            link::null(family, if link == Link::Loop { ByteOrder::Big } else { order })
        }
        Link::Sll | Link::Sll2 => {
            let (protocol, payload) = network(random, false);
            let (packet_type, address) = (random.u8() % 5, mac_address(random));
            let header = if link == Link::Sll {
                link::sll(u16::from(packet_type), 1, &address, protocol)
            } else {
                link::sll2(protocol, random.u32() & 3, 1, packet_type, &address)
            };
            return [header, payload].concat();
        }
    };
    [header, ip].concat()
}
