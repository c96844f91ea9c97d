//! Ethernet types, and the LLC protocols that the language calls by the same word.

use alloc::vec::Vec;

use super::{
    builder::Fragment,
    layout::NetworkType,
    questions::{Questions, TYPE_IPV4, TYPE_IPV6},
};
use crate::{
    expression::Family,
    program::{Relation, Size, Value},
    target::Link,
};

/// Numbers up to this are lengths of 802.3 frames, which begin with an LLC header.
const MAX_LENGTH_OF_802_3: u32 = 1500;
/// What Linux "cooked" frames have in place of an Ethernet type if they begin with an LLC header.
const COOKED_LLC: u32 = 4;
/// The same, for raw 802.3 frames.
const COOKED_RAW_802_3: u32 = 1;

impl Questions<'_> {
    /// Whether the frame has this Ethernet type, or, for the lower numbers, this LLC protocol.
    pub(super) fn ether_type(&mut self, number: u32) -> Fragment {
        let NetworkType::EtherType(offset) = self.layout.network_type() else {
            return match number {
                TYPE_IPV4 => self.family(Family::Ipv4),
                TYPE_IPV6 => self.family(Family::Ipv6),
                _ => self.builder.constant(false),
            };
        };
        match self.layout.link {
            Link::LinuxSll2 => self.is_at(offset, Size::Half, number),
            link => self.ether_type_or_llc(offset, link == Link::Ethernet, number),
        }
    }

    /// As [`ether_type`](Self::ether_type), where frames can begin with an LLC header. Some protocols have a number both as an
    /// Ethernet type and behind a SNAP header, and IPX has four encapsulations.
    fn ether_type_or_llc(&mut self, offset: u32, is_ethernet: bool, number: u32) -> Fragment {
        let llc = self.layout.network();
        let snap = |organization_high: u32, low: u32| (0xaaaa_0300 | organization_high, low);
        match number {
            0x809b | 0x80f3 => {
                // AppleTalk has an organization of its own, AARP that of all Ethernet types.
                let (high, low) = if number == 0x809b { snap(0x08, 0x0007_809b) } else { snap(0, 0x80f3) };
                let plain = self.is_at(offset, Size::Half, number);
                let is_llc = self.begins_with_llc(offset, is_ethernet);
                let snap = self.is_snap(llc, high, low);
                let behind = self.builder.and(is_llc, snap);
                self.builder.or(plain, behind)
            }
            0xe0 => {
                let plain = self.is_at(offset, Size::Half, 0x8137);
                let raw = (!is_ethernet).then(|| self.is_at(offset, Size::Half, COOKED_RAW_802_3));
                let is_llc = self.begins_with_llc(offset, is_ethernet);
                let (high, low) = snap(0, 0x8137);
                let mut behind = Vec::new();
                behind.push(self.is_snap(llc, high, low));
                behind.push(self.is_at(llc, Size::Byte, 0xe0));
                if is_ethernet {
                    behind.push(self.is_at(llc, Size::Half, 0xffff));
                }
                let behind = self.any(behind);
                let behind = self.builder.and(is_llc, behind);
                let parts: Vec<_> = [Some(plain), raw, Some(behind)].into_iter().flatten().collect();
                self.any(parts)
            }
            0..=MAX_LENGTH_OF_802_3 => {
                let is_llc = self.begins_with_llc(offset, is_ethernet);
                let is_protocol = match number {
                    // Both access points are compared where both have to be the same.
                    0x06 | 0xf0 | 0xfe => self.is_at(llc, Size::Half, number << 8 | number),
                    _ => self.is_at(llc, Size::Byte, number),
                };
                self.builder.and(is_llc, is_protocol)
            }
            _ => self.is_at(offset, Size::Half, number),
        }
    }

    fn begins_with_llc(&mut self, offset: u32, is_ethernet: bool) -> Fragment {
        if is_ethernet {
            let length = self.layout.at(offset, Size::Half, 0xffff);
            self.builder.test(length, Relation::Greater, Value::Constant(MAX_LENGTH_OF_802_3)).not()
        } else {
            self.is_at(offset, Size::Half, COOKED_LLC)
        }
    }

    fn is_snap(&mut self, llc: u32, high: u32, low: u32) -> Fragment {
        let low = self.is_at(llc + 4, Size::Word, low);
        let high = self.is_at(llc, Size::Word, high);
        self.builder.and(low, high)
    }
}
