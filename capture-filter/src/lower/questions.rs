//! What each question asks of a frame, as tests. The order of the tests, and what they read, is what `tcpdump -d` prints.

use alloc::vec::Vec;

use super::{
    arithmetic::{self, TooDeep},
    builder::{Builder, Fragment},
    layout::{Layout, NetworkType},
    sets::{in_ranges, normalise},
};
use crate::{
    expression::{Arithmetic, Family, IndexProtocol, RelationOperator},
    program::{Metadata, Operator, Relation, Size, Value, ValueStep},
    target::ByteOrder,
};

pub(super) const TYPE_IPV4: u32 = 0x0800;
pub(super) const TYPE_ARP: u32 = 0x0806;
pub(super) const TYPE_RARP: u32 = 0x8035;
pub(super) const TYPE_IPV6: u32 = 0x86dd;
/// 802.1Q, 802.1ad, and QinQ from before it.
pub(super) const TAG_TYPES: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const NEXT_HEADER_FRAGMENT: u32 = 44;
pub(super) const TCP: u32 = 6;
pub(super) const UDP: u32 = 17;
pub(super) const SCTP: u32 = 132;
const ICMP6: u32 = 58;

/// Makes tests for frames of one kind.
pub(super) struct Questions<'b> {
    pub(super) builder: &'b mut Builder,
    pub(super) layout: Layout,
    /// As [`Target::only_tcp`](crate::target::Target::only_tcp).
    pub(super) only_tcp: bool,
}

impl Questions<'_> {
    pub(super) fn is_at(&mut self, offset: u32, size: Size, value: u32) -> Fragment {
        let field = self.layout.at(offset, size, arithmetic::all_bits(size));
        self.builder.equal(field, value)
    }

    pub(super) fn any(&mut self, parts: impl IntoIterator<Item = Fragment>) -> Fragment {
        match parts.into_iter().reduce(|left, right| self.builder.or(left, right)) {
            Some(answer) => answer,
            None => self.builder.constant(false),
        }
    }

    /// Whether the network layer is of this family.
    pub(super) fn family(&mut self, family: Family) -> Fragment {
        match (self.layout.network_type(), family) {
            (NetworkType::EtherType(offset), Family::Ipv4) => self.is_at(offset, Size::Half, TYPE_IPV4),
            (NetworkType::EtherType(offset), Family::Ipv6) => self.is_at(offset, Size::Half, TYPE_IPV6),
            (NetworkType::Version, family) => {
                let version = self.layout.at(0, Size::Byte, 0xf0);
                self.builder.equal(version, if family == Family::Ipv4 { 0x40 } else { 0x60 })
            }
            (NetworkType::Always(always), family) => self.builder.constant(always == family),
            (NetworkType::AddressFamily(order), family) => {
                // AF_INET, and what AF_INET6 is in NetBSD and OpenBSD, FreeBSD, macOS.
                let numbers: &[u32] = if family == Family::Ipv4 { &[2] } else { &[24, 28, 30] };
                let parts: Vec<_> = numbers
                    .iter()
                    .map(|&number| match order {
                        ByteOrder::Big => self.is_at(0, Size::Word, number),
                        ByteOrder::Little => self.is_at(0, Size::Word, number.swap_bytes()),
                    })
                    .collect();
                self.any(parts)
            }
        }
    }

    /// Whether the protocol above the network layer is one of these.
    pub(super) fn protocols(&mut self, family: Option<Family>, numbers: &[u32]) -> Fragment {
        let numbers: Vec<_> = numbers.iter().copied().filter(|&number| number <= 0xff).collect();
        let numbers = normalise(numbers.into_iter().map(|number| (number, number)).collect());
        let mut parts = Vec::new();
        if family != Some(Family::Ipv6) {
            let is_family = self.family(Family::Ipv4);
            let is_protocol = self.byte_in(self.layout.network() + 9, &numbers);
            parts.push(self.builder.and(is_family, is_protocol));
        }
        if family != Some(Family::Ipv4) {
            let is_family = self.family(Family::Ipv6);
            let is_protocol = self.byte_in(self.layout.network() + 6, &numbers);
            let is_fragment = self.is_at(self.layout.network() + 6, Size::Byte, NEXT_HEADER_FRAGMENT);
            let is_protocol_of_fragment = self.byte_in(self.layout.network() + 40, &numbers);
            let fragment = self.builder.and(is_fragment, is_protocol_of_fragment);
            let is_protocol = self.builder.or(is_protocol, fragment);
            parts.push(self.builder.and(is_family, is_protocol));
        }
        self.any(parts)
    }

    pub(super) fn byte_in(&mut self, offset: u32, ranges: &[(u32, u32)]) -> Fragment {
        let layout = self.layout;
        in_ranges(self.builder, &|mask| layout.at(offset, Size::Byte, mask), 0xff, ranges)
    }

    pub(super) fn all<const N: usize>(&mut self, parts: [Fragment; N]) -> Fragment {
        match parts.into_iter().reduce(|left, right| self.builder.and(left, right)) {
            Some(answer) => answer,
            None => self.builder.constant(true),
        }
    }

    pub(super) fn is_not_a_later_fragment(&mut self) -> Fragment {
        let offset = self.layout.at(self.layout.network() + 6, Size::Half, 0x1fff);
        self.builder.equal(offset, 0)
    }

    /// Whether a tag with this identifier stands in the bytes.
    pub(super) fn tag(&mut self, identifier: Option<u16>) -> Fragment {
        let offset = 12 + self.layout.shift;
        let parts: Vec<_> =
            TAG_TYPES.into_iter().map(|number| self.is_at(offset, Size::Half, number)).collect();
        let is_tag = self.any(parts);
        match identifier {
            Some(identifier) => {
                let control = self.layout.at(offset + 2, Size::Half, 0x0fff);
                let is_identifier = self.builder.equal(control, u32::from(identifier));
                self.builder.and(is_tag, is_identifier)
            }
            None => is_tag,
        }
    }

    /// Whether the frame's destination has the bit of groups.
    pub(super) fn ether_multicast(&mut self) -> Fragment {
        let first = self.layout.at(0, Size::Byte, 1);
        self.builder.equal(first, 0).not()
    }

    /// Whether the packet's destination is 0.0.0.0 or 255.255.255.255. Broadcast addresses of networks are others, which
    /// only a netmask tells: tcpdump gives libpcap none either.
    pub(super) fn ip_broadcast(&mut self) -> Fragment {
        let is_family = self.family(Family::Ipv4);
        let offset = self.layout.network() + 16;
        let zeros = self.is_at(offset, Size::Word, 0);
        let ones = self.is_at(offset, Size::Word, u32::MAX);
        let is_broadcast = self.builder.or(zeros, ones);
        self.builder.and(is_family, is_broadcast)
    }

    /// Whether the packet's destination is 224.0.0.0 or above.
    pub(super) fn ip_multicast(&mut self) -> Fragment {
        let is_family = self.family(Family::Ipv4);
        let first = self.layout.at(self.layout.network() + 16, Size::Byte, 0xff);
        let is_multicast = self.builder.test(first, Relation::GreaterOrEqual, Value::Constant(224));
        self.builder.and(is_family, is_multicast)
    }

    /// Whether the packet's destination lies in ff00::/8.
    pub(super) fn ip6_multicast(&mut self) -> Fragment {
        let is_family = self.family(Family::Ipv6);
        let is_multicast = self.is_at(self.layout.network() + 24, Size::Byte, 0xff);
        self.builder.and(is_family, is_multicast)
    }

    /// Whether a relation holds, in a packet of the protocols whose bytes it reads.
    pub(super) fn relation(
        &mut self,
        left: &Arithmetic,
        operator: RelationOperator,
        right: &Arithmetic,
    ) -> Result<Fragment, TooDeep> {
        let mut protocols = Vec::new();
        let left = arithmetic::value(left, &self.layout, &mut protocols)?;
        let right = arithmetic::value(right, &self.layout, &mut protocols)?;
        let mut checks = Vec::new();
        for protocol in protocols {
            checks.push(self.is_indexable(protocol));
        }
        // A constant stands on the right.
        let (left, operator, right) = match (&left, &right) {
            (Value::Constant(_), Value::Constant(_)) => (left, operator, right),
            (Value::Constant(_), _) => (right, exchanged(operator), left),
            _ => (left, operator, right),
        };
        let (left, right) = without_subtraction(left, right);
        let holds = match operator {
            RelationOperator::Equal => self.builder.test(left, Relation::Equal, right),
            RelationOperator::NotEqual => self.builder.test(left, Relation::Equal, right).not(),
            RelationOperator::Less => self.builder.test(left, Relation::GreaterOrEqual, right).not(),
            RelationOperator::LessOrEqual => self.builder.test(left, Relation::Greater, right).not(),
            RelationOperator::Greater => self.builder.test(left, Relation::Greater, right),
            RelationOperator::GreaterOrEqual => self.builder.test(left, Relation::GreaterOrEqual, right),
        };
        Ok(match checks.into_iter().reduce(|left, right| self.builder.and(left, right)) {
            Some(checks) => self.builder.and(checks, holds),
            None => holds,
        })
    }

    /// Whether the packet is of a protocol in such a way that its bytes can be read at an index.
    fn is_indexable(&mut self, protocol: IndexProtocol) -> Fragment {
        let number = match protocol {
            IndexProtocol::Ether => return self.builder.constant(true),
            IndexProtocol::Ip => return self.family(Family::Ipv4),
            IndexProtocol::Ip6 => return self.family(Family::Ipv6),
            IndexProtocol::Arp => return self.ether_type(TYPE_ARP),
            IndexProtocol::Rarp => return self.ether_type(TYPE_RARP),
            IndexProtocol::Icmp6 => {
                let is_family = self.family(Family::Ipv6);
                let is_protocol = self.is_at(self.layout.network() + 6, Size::Byte, ICMP6);
                return self.builder.and(is_family, is_protocol);
            }
            IndexProtocol::Icmp => 1,
            IndexProtocol::Igmp => 2,
            IndexProtocol::Tcp => TCP,
            IndexProtocol::Igrp => 9,
            IndexProtocol::Udp => UDP,
            IndexProtocol::Pim => 103,
            IndexProtocol::Vrrp | IndexProtocol::Carp => 112,
            IndexProtocol::Sctp => SCTP,
        };
        let is_family = self.family(Family::Ipv4);
        let is_protocol = self.is_at(self.layout.network() + 9, Size::Byte, number);
        let is_first = self.is_not_a_later_fragment();
        self.all([is_family, is_protocol, is_first])
    }
}

/// The operator that says the same with its sides exchanged.
const fn exchanged(operator: RelationOperator) -> RelationOperator {
    match operator {
        RelationOperator::Equal | RelationOperator::NotEqual => operator,
        RelationOperator::Less => RelationOperator::Greater,
        RelationOperator::LessOrEqual => RelationOperator::GreaterOrEqual,
        RelationOperator::Greater => RelationOperator::Less,
        RelationOperator::GreaterOrEqual => RelationOperator::LessOrEqual,
    }
}

/// `len - 4` compared with a constant is `len` compared with one that is higher by 4: no frame is shorter than that.
fn without_subtraction(left: Value, right: Value) -> (Value, Value) {
    let subtraction = [
        ValueStep::Metadata(Metadata::Length),
        ValueStep::Constant(4),
        ValueStep::Binary(Operator::Subtract),
    ];
    match (&left, &right) {
        (Value::Computed(steps), Value::Constant(constant)) if **steps == subtraction => {
            match constant.checked_add(4) {
                Some(sum) => (Value::Metadata(Metadata::Length), Value::Constant(sum)),
                None => (left, right),
            }
        }
        _ => (left, right),
    }
}
