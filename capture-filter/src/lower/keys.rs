//! Questions about addresses and ports: whether a packet has one of several, or what follows from which of them it has.

use alloc::vec::Vec;

use super::{
    builder::{Fragment, join},
    groups::{Arm, Item, ItemKind, Question},
    questions::{Questions, SCTP, TCP, TYPE_ARP, TYPE_IPV4, TYPE_RARP, UDP},
    sets::{Decision, Key, Word, in_ranges, matches_key, normalise},
};
use crate::{
    expression::{Direction, Family, Ipv4Scope, Primitive, Transports},
    program::{Next, Size},
};

/// Asks about one address or port, whose words are given.
type Ask<'a, 'q> = dyn FnMut(&mut Questions<'q>, &Word<'_>) -> Fragment + 'a;

impl<'q> Questions<'q> {
    /// A question that can be asked of frames of every kind; another one is answered with no.
    pub(super) fn ask(&mut self, question: &Question<'_>) -> Fragment {
        match question {
            Question::Protocols { family, numbers } => self.protocols(*family, numbers),
            Question::Ipv4 { networks, .. } => {
                let keys: Vec<_> = networks.iter().map(|&(address, mask)| Key::word(address, mask)).collect();
                self.about(question, &mut |this, word| matches_key(this.builder, word, &keys))
            }
            Question::Ipv6 { networks, .. } => {
                let keys: Vec<_> = networks.iter().map(|&network| Key::from(network)).collect();
                self.about(question, &mut |this, word| matches_key(this.builder, word, &keys))
            }
            Question::Ports { ranges, .. } => {
                let ranges = ranges.iter().map(|&(low, high)| (u32::from(low), u32::from(high))).collect();
                let ranges = normalise(ranges);
                self.about(question, &mut |this, word| {
                    in_ranges(this.builder, &|mask| word(0, mask), 0xffff, &ranges)
                })
            }
            Question::Switch { subject, arms } => {
                self.about(subject, &mut |this, word| this.switch(word, arms))
            }
            Question::Other(Primitive::EtherType(number)) => self.ether_type(*number),
            Question::Ether { .. } | Question::Other(_) => self.builder.constant(false),
        }
    }

    /// A question about the addresses or ports that `subject` is about.
    fn about(&mut self, subject: &Question<'_>, ask: &mut Ask<'_, 'q>) -> Fragment {
        match *subject {
            Question::Ipv4 { scope, direction, .. } => self.ipv4(scope, direction, ask),
            Question::Ipv6 { direction, .. } => self.ipv6(direction, ask),
            Question::Ports { transports, direction, .. } => self.ports(transports, direction, ask),
            _ => self.builder.constant(false),
        }
    }

    /// What follows from which key there is.
    fn switch(&mut self, word: &Word<'_>, arms: &[Arm<'_>]) -> Fragment {
        let keys = arms.iter().enumerate();
        let mut keys: Vec<_> =
            keys.flat_map(|(index, arm)| arm.keys.iter().map(move |&key| (key, index))).collect();
        keys.sort_unstable();
        let mut answer = None;
        for keys in keys.chunk_by_mut(|(left, _), (right, _)| left.masks == right.masks) {
            let Decision { entry, matched, otherwise } = Decision::new(self.builder, word, keys);
            let mut next = Fragment { entry, yes: Vec::new(), no: otherwise };
            for (index, ways) in matched {
                let rest = self.items(arms.get(index).map_or(&[], |arm| &arm.rest));
                self.builder.lead(&ways, Next::Test(rest.entry));
                next.yes = join(next.yes, rest.yes);
                next.no = join(next.no, rest.no);
            }
            answer = Some(match answer {
                None => next,
                Some(answer) => self.builder.or(answer, next),
            });
        }
        match answer {
            Some(answer) => answer,
            None => self.builder.constant(false),
        }
    }

    /// Questions in postfix order.
    fn items(&mut self, items: &[Item<'_>]) -> Fragment {
        let mut stack: Vec<Fragment> = Vec::new();
        for item in items {
            let fragment = match &item.kind {
                ItemKind::Question(question) => self.ask(question),
                ItemKind::Not => {
                    let Some(operand) = stack.pop() else { break };
                    operand.not()
                }
                ItemKind::And | ItemKind::Or => {
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { break };
                    if matches!(item.kind, ItemKind::And) {
                        self.builder.and(left, right)
                    } else {
                        self.builder.or(left, right)
                    }
                }
            };
            stack.push(fragment);
        }
        match stack.pop() {
            Some(answer) => answer,
            None => self.builder.constant(false),
        }
    }

    /// One question for the source, one for the destination.
    fn directed(
        &mut self,
        direction: Direction,
        mut ask: impl FnMut(&mut Self, bool) -> Fragment,
    ) -> Fragment {
        match direction {
            Direction::Source => ask(self, true),
            Direction::Destination => ask(self, false),
            Direction::Either => {
                let (source, destination) = (ask(self, true), ask(self, false));
                self.builder.or(source, destination)
            }
            Direction::Both => {
                let (source, destination) = (ask(self, true), ask(self, false));
                self.builder.and(source, destination)
            }
        }
    }

    /// A question about addresses of IPv4, ARP, RARP.
    fn ipv4(&mut self, scope: Ipv4Scope, direction: Direction, ask: &mut Ask<'_, 'q>) -> Fragment {
        let network = self.layout.network();
        let words = [(0, Size::Word)];
        let mut parts = Vec::new();
        if matches!(scope, Ipv4Scope::Any | Ipv4Scope::Ip) {
            let is_type = self.ether_type(TYPE_IPV4);
            let addresses = self.addresses(direction, [network + 12, network + 16], &words, ask);
            parts.push(self.builder.and(is_type, addresses));
        }
        if scope != Ipv4Scope::Ip {
            let mut types = Vec::new();
            if scope != Ipv4Scope::Rarp {
                types.push(self.ether_type(TYPE_ARP));
            }
            if scope != Ipv4Scope::Arp {
                types.push(self.ether_type(TYPE_RARP));
            }
            let is_type = self.any(types);
            // The sender's and the target's protocol address (RFC 826).
            let addresses = self.addresses(direction, [network + 14, network + 24], &words, ask);
            parts.push(self.builder.and(is_type, addresses));
        }
        self.any(parts)
    }

    /// A question about addresses of IPv6.
    fn ipv6(&mut self, direction: Direction, ask: &mut Ask<'_, 'q>) -> Fragment {
        let network = self.layout.network();
        let is_family = self.family(Family::Ipv6);
        let words = [(0, Size::Word), (4, Size::Word), (8, Size::Word), (12, Size::Word)];
        let addresses = self.addresses(direction, [network + 8, network + 24], &words, ask);
        self.builder.and(is_family, addresses)
    }

    /// Whether Ethernet addresses are among these.
    pub(super) fn ether(&mut self, direction: Direction, addresses: &[[u8; 6]]) -> Fragment {
        let keys: Vec<_> = addresses
            .iter()
            .map(|&[a, b, c, d, e, f]| Key {
                masks: [u32::MAX, 0xffff, 0, 0],
                values: [u32::from_be_bytes([c, d, e, f]), u32::from_be_bytes([0, 0, a, b]), 0, 0],
            })
            .collect();
        let words = [(2, Size::Word), (0, Size::Half)];
        self.addresses(direction, [6, 0], &words, &mut |this, word| matches_key(this.builder, word, &keys))
    }

    /// A question about the addresses at these offsets, source and destination.
    fn addresses(
        &mut self,
        direction: Direction,
        [source, destination]: [u32; 2],
        words: &[(u32, Size)],
        ask: &mut Ask<'_, 'q>,
    ) -> Fragment {
        self.directed(direction, |this, is_source| {
            let start = if is_source { source } else { destination };
            let layout = this.layout;
            ask(this, &|index, mask| {
                let (offset, size) = words.get(index).copied().unwrap_or((0, Size::Word));
                layout.at(start + offset, size, mask)
            })
        })
    }

    /// A question about ports.
    fn ports(&mut self, transports: Transports, direction: Direction, ask: &mut Ask<'_, 'q>) -> Fragment {
        // Where no tag is skipped, the parser of capture-common reads the same header.
        let others = !self.only_tcp || self.layout.shift != 0;
        let protocols =
            [(transports.tcp, TCP), (transports.udp && others, UDP), (transports.sctp && others, SCTP)];
        let protocols: Vec<_> =
            protocols.into_iter().filter(|(wanted, _)| *wanted).map(|(_, number)| (number, number)).collect();
        let network = self.layout.network();
        let layout = self.layout;
        let is_family = self.family(Family::Ipv4);
        let is_protocol = self.byte_in(network + 9, &protocols);
        let is_first = self.is_not_a_later_fragment();
        let ports = self.directed(direction, |this, is_source| {
            let offset = if is_source { 0 } else { 2 };
            ask(this, &|_, mask| layout.in_ipv4_payload(offset, Size::Half, mask))
        });
        let ipv4 = self.all([is_family, is_protocol, is_first, ports]);
        let is_family = self.family(Family::Ipv6);
        let is_protocol = self.byte_in(network + 6, &protocols);
        let ports = self.directed(direction, |this, is_source| {
            let offset = network + if is_source { 40 } else { 42 };
            ask(this, &|_, mask| layout.at(offset, Size::Half, mask))
        });
        let ipv6 = self.all([is_family, is_protocol, ports]);
        self.builder.or(ipv4, ipv6)
    }
}

impl From<(u128, u128)> for Key {
    /// An address and its mask.
    fn from((address, mask): (u128, u128)) -> Self {
        let words = |number: u128| [96, 64, 32, 0].map(|shift| (number >> shift) as u32);
        Self { masks: words(mask), values: words(address & mask) }
    }
}
