//! The network layer around a segment.

use crate::{
    packets::{
        ip::{Addresses, Ipv4, Ipv6, TCP, fragment_header},
        tcp::option,
    },
    random::Random,
};

/// How a segment is put into an IP packet.
pub(super) enum IpStyle {
    /// The header, and its addresses.
    V4(Ipv4, [u8; 4], [u8; 4]),
    /// The header, its addresses, and extension headers before the segment.
    V6(Ipv6, [u8; 16], [u8; 16], Vec<u8>),
}

impl IpStyle {
    /// As hosts do it.
    pub(super) fn sane(random: &mut Random, addresses: &Addresses) -> Self {
        match *addresses {
            Addresses::V4(source, destination) => {
                let header = Ipv4 {
                    tos: if random.one_in(6) { random.u8() } else { 0 },
                    id: random.u16(),
                    fragment: random.pick(&[0x4000, 0x4000, 0]),
                    ttl: random.pick(&[64, 64, 63, 1, 0, 255]),
                    ..Ipv4::default()
                };
                Self::V4(header, source, destination)
            }
            Addresses::V6(source, destination) => {
                let header = Ipv6 {
                    traffic_class: if random.one_in(6) { random.u8() } else { 0 },
                    flow_label: if random.one_in(2) { random.u32() } else { 0 },
                    hop_limit: random.pick(&[64, 64, 1, 0, 255]),
                    ..Ipv6::default()
                };
                Self::V6(header, source, destination, Vec::new())
            }
        }
    }

    /// With something unusual or wrong.
    pub(super) fn odd(random: &mut Random, addresses: &Addresses) -> Self {
        let mut style = Self::sane(random, addresses);
        match &mut style {
            Self::V4(header, ..) => odd_ipv4(random, header),
            Self::V6(header, _, _, extensions) => odd_ipv6(random, header, extensions),
        }
        style
    }

    /// Makes it something else than TCP.
    pub(super) fn set_protocol(&mut self, protocol: u8) {
        match self {
            Self::V4(header, ..) => header.protocol = protocol,
            Self::V6(header, ..) => header.next_header = protocol,
        }
    }

    pub(super) fn encode(&self, segment: &[u8]) -> Vec<u8> {
        match self {
            Self::V4(header, source, destination) => header.encode(*source, *destination, segment),
            Self::V6(header, source, destination, extensions) => {
                header.encode(*source, *destination, &[&extensions[..], segment].concat())
            }
        }
    }
}

fn odd_ipv4(random: &mut Random, header: &mut Ipv4) {
    match random.below(9) {
        0 => header.total_length = Some(random.between(0, 90) as u16),
        1 => header.total_length = Some(random.pick(&[0, 19, 20, 21, 39, 40, 41, 1500, 65_535])),
        2 => header.header_length = Some(random.below(16) as u8),
        3 => header.version = random.below(16) as u8,
        // More fragments, an offset, the reserved bit.
        4 => header.fragment = random.pick(&[0x2000, 0x2001, 1, 0x00b9, 0x8000, 0xe000, 0x1fff]),
        5 => header.fragment = random.u16(),
        6 => header.checksum = Some(random.pick(&[0, 0xffff, 0x1234])),
        _ => header.options = ipv4_options(random),
    }
    if random.one_in(3) {
        header.options = ipv4_options(random);
    }
    if random.one_in(8) {
        header.checksum = Some(random.u16());
    }
}

/// End, no-operation, security, loose and strict source routes, record route, timestamp, router alert and others
/// (RFC 791 section 3.1, RFC 2113), with right and wrong lengths.
fn ipv4_options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    let wanted = random.between(1, 40);
    while options.len() < wanted {
        let kind = random.pick(&[0, 1, 1, 7, 7, 68, 68, 82, 130, 131, 131, 137, 136, 148, 148, 149, 200]);
        if kind <= 1 {
            options.push(kind);
            continue;
        }
        let usual = match kind {
            7 | 131 | 137 => random.pick(&[3, 7, 11, 15, 39]),
            68 => random.pick(&[4, 8, 12, 20, 36]),
            148 | 136 => 4,
            130 => 11,
            _ => random.between(2, 12) as u8,
        };
        let mut one = option(kind, &random.bytes(usize::from(usual) - 2));
        if one.len() > 2 {
            // The pointer.
            one[2] = random.pick(&[4, 5, 8, 12, usual.saturating_add(1), 0, 255]);
        }
        if kind == 68 && one.len() > 3 {
            one[3] = random.pick(&[0, 1, 3, 0x10, 0xf1, 2]);
        }
        if random.one_in(5) {
            one[1] = random.pick(&[0, 1, 2, 3, 40, 255]);
        }
        options.extend(one);
    }
    options.truncate(40);
    options
}

fn odd_ipv6(random: &mut Random, header: &mut Ipv6, extensions: &mut Vec<u8>) {
    match random.below(8) {
        0 => header.payload_length = Some(random.between(0, 90) as u16),
        1 => header.payload_length = Some(random.pick(&[0, 1, 19, 20, 21, 1500, 65_535])),
        2 => header.version = random.below(16) as u8,
        3..6 => {
            header.next_header = 44;
            let offset = random.pick(&[0, 0, 0, 8, 1448, 0xfff8]);
            extensions.extend(fragment_header(TCP, offset, random.one_in(2), random.u32()));
        }
        6 => {
            // Hop-by-hop options, destination options or a routing header: nothing that is selected.
            header.next_header = random.pick(&[0, 60, 43]);
            extensions.extend([TCP, 0, 1, 4, 0, 0, 0, 0]);
        }
        _ => header.next_header = random.u8(),
    }
}
