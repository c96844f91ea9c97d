//! The link layer around an IP packet.

use crate::{
    packets::{
        byte_order::ByteOrder,
        link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, ethernet, null, sll, sll2},
    },
    random::Random,
};

/// The header of a frame.
pub(super) struct LinkStyle(Vec<u8>);

impl LinkStyle {
    /// As hosts do it; in Ethernet at times with VLAN tags.
    pub(super) fn sane(random: &mut Random, link: Link, order: ByteOrder, v4: bool) -> Self {
        let tags = if random.one_in(6) { random.between(1, 2) } else { 0 };
        Self::make(random, link, order, if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }, tags)
    }

    /// With something unusual or wrong.
    pub(super) fn odd(random: &mut Random, link: Link, order: ByteOrder, v4: bool) -> Self {
        let ethertype = match random.below(4) {
            // The other family, something else, an 802.3 length.
            0 => random.pick(&[ETHERTYPE_IPV4, ETHERTYPE_IPV6]),
            1 => random.pick(&[0x0806, 0x8100, 0x8847, 0x0004, 46, 1500, 1501]),
            _ if v4 => ETHERTYPE_IPV4,
            _ => ETHERTYPE_IPV6,
        };
        let tags = random.below(5);
        let mut style = Self::make(random, link, order, ethertype, tags);
        if !style.0.is_empty() && random.one_in(3) {
            let at = random.below(style.0.len());
            style.0[at] = random.u8();
        }
        style
    }

    pub(super) fn encode(&self, packet: &[u8]) -> Vec<u8> {
        [&self.0, packet].concat()
    }

    fn make(random: &mut Random, link: Link, order: ByteOrder, ethertype: u16, tags: usize) -> Self {
        let hardware = random.pick(&[1, 1, 772, 65_534, 776]);
        let packet_type = random.pick(&[0, 1, 2, 3, 4, 4, 5, 6, 9]);
        let address_length = random.pick(&[6, 6, 6, 0, 8, 4, 1]);
        let address = random.bytes(address_length);
        Self(match link {
            Link::Raw | Link::Ipv4 | Link::Ipv6 => Vec::new(),
            Link::Null | Link::Loop => {
                let v4 = ethertype == ETHERTYPE_IPV4;
                let family = if v4 { 2 } else { random.pick(&[24, 28, 30, 30, 10]) };
                // One that is not of this order is not selected.
                let other = random.one_in(20);
                let big = (link == Link::Loop || order == ByteOrder::Big) != other;
                null(family, if big { ByteOrder::Big } else { ByteOrder::Little })
            }
            Link::Sll => sll(packet_type, hardware, &address, ethertype),
            // No machine has an interface of that number, whose name tcpdump would print.
            Link::Sll2 => sll2(ethertype, 0x00ff_fff1, hardware, packet_type as u8, &address),
            Link::Ethernet => {
                let mut address = || match random.below(3) {
                    0 => [0; 6],
                    1 => [0xff; 6],
                    _ => random.array(),
                };
                let (destination, source) = (address(), address());
                let tags: Vec<_> = (0..tags)
                    .map(|_| (random.pick(&[0x8100, 0x8100, 0x88a8, 0x9100]), random.u16()))
                    .collect();
                ethernet(destination, source, &tags, ethertype)
            }
        })
    }
}
