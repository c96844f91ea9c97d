//! What an expression says: the parser's result. Names are resolved, qualifiers that an item inherits are written out,
//! numbers are checked. It does not know the link type, nor where tags are: that is for the lowering.
//!
//! It is a list in postfix order, which is also the order of the text. So nothing that walks it is recursive, however
//! deeply the text nests, and `vlan`, which moves the offsets of all *later text*, finds them later in the list.

use alloc::vec::Vec;
use core::ops::Range;

/// Where in the text something stands, in bytes.
pub type Span = Range<usize>;

/// A checked expression. Without steps it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expression {
    /// Postfix order: an operator follows its operands.
    pub steps: Vec<Step>,
}

/// One step of an [`Expression`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The text it comes from, for errors that are found later.
    pub span: Span,
}

/// What a step does to the stack of truth values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Pushes whether the packet has a property.
    Primitive(Primitive),
    /// Pops one value and pushes the opposite.
    Not,
    /// Pops two values. Short-circuit: the second one is not evaluated if the first one is false.
    And,
    /// Pops two values. Short-circuit: the second one is not evaluated if the first one is true.
    Or,
}

/// A property of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// `ip`, `ip6`, `arp`, `rarp`, `ether proto N`: the type of the network layer's protocol. Numbers up to 1500 are
    /// LLC protocols in tcpdump's language.
    EtherType(u32),
    /// `tcp`, `proto N`, `ip proto N`, `ip6 proto N`: the protocol above the network layer, of one family or of both.
    /// Above 255 it matches nothing.
    Protocol {
        /// The family, if one is given.
        family: Option<Family>,
        /// The protocol's number.
        number: u32,
    },
    /// `host A`, `net N` with IPv4 addresses. `packet & mask == address`; the mask may have holes.
    Ipv4 {
        /// Which of the protocols with IPv4 addresses.
        scope: Ipv4Scope,
        /// Which of the two addresses.
        direction: Direction,
        /// The address, in host byte order; its bits outside of the mask are 0.
        address: u32,
        /// The mask, in host byte order.
        mask: u32,
    },
    /// `host A`, `net N` with IPv6 addresses.
    Ipv6 {
        /// Which of the two addresses.
        direction: Direction,
        /// The address; its bits outside of the mask are 0.
        address: u128,
        /// The mask.
        mask: u128,
    },
    /// `ether host M`.
    Ether {
        /// Which of the two addresses.
        direction: Direction,
        /// The address.
        address: [u8; 6],
    },
    /// `port N`, `portrange A-B`.
    Port {
        /// Of which protocols.
        transports: Transports,
        /// Which of the two ports.
        direction: Direction,
        /// The lowest port.
        low: u16,
        /// The highest port, at least `low`.
        high: u16,
    },
    /// `vlan`, `vlan N`. All later steps read four bytes further on.
    Vlan(Option<u16>),
    /// `inbound`.
    Inbound,
    /// `outbound`.
    Outbound,
    /// `ifindex N`.
    IfIndex(u32),
    /// `ether broadcast`, `broadcast`.
    EtherBroadcast,
    /// `ether multicast`, `multicast`.
    EtherMulticast,
    /// `ip broadcast`.
    IpBroadcast,
    /// `ip multicast`.
    IpMulticast,
    /// `ip6 multicast`.
    Ip6Multicast,
    /// `tcp[13] & 2 != 0`, `len > 100`; also `less N` and `greater N`. Unsigned, 32 bits.
    Relation {
        /// The left side.
        left: Arithmetic,
        /// The operator.
        operator: RelationOperator,
        /// The right side.
        right: Arithmetic,
    },
}

/// A family of the network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// In which protocols an IPv4 address is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Scope {
    /// No protocol is given: IPv4, ARP and RARP.
    Any,
    /// `ip`.
    Ip,
    /// `arp`.
    Arp,
    /// `rarp`.
    Rarp,
}

/// Which of a pair of addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
    /// `src or dst`, or nothing: one of them.
    Either,
    /// `src and dst`: both.
    Both,
}

/// Transport protocols that have ports. At least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
    /// SCTP.
    pub sctp: bool,
}

/// An arithmetic expression, in postfix order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// At least one step. All values are unsigned, of 32 bits, and wrap.
    pub steps: Vec<ArithmeticStep>,
}

/// What a step of an [`Arithmetic`] does to the stack of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticStep {
    /// Pushes a number.
    Number(u32),
    /// `len`: pushes the length of the frame on the wire.
    Length,
    /// `P[index:size]`: pops the index, pushes that many bytes of protocol P, in network byte order.
    Load {
        /// Whose header the index counts from.
        protocol: IndexProtocol,
        /// How many bytes.
        size: Size,
    },
    /// Pops one value.
    Negate,
    /// Pops two values; the upper one is the right operand.
    Binary(Operator),
}

/// A protocol whose bytes can be read: `tcp[..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the word of the language in upper case")]
pub enum IndexProtocol {
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Pim,
    Vrrp,
    Igrp,
    Carp,
}

/// How many bytes are read at once, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
}

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}

/// An arithmetic operator, on unsigned values of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `+`, wraps.
    Add,
    /// `-`, wraps.
    Subtract,
    /// `*`, wraps.
    Multiply,
    /// `/`. By zero: the packet does not match, whatever stands around it.
    Divide,
    /// `%`. By zero: as [`Divide`](Self::Divide).
    Modulo,
    /// `&`.
    And,
    /// `|`.
    Or,
    /// `^`.
    Xor,
    /// `<<`. By 32 and more: 0.
    ShiftLeft,
    /// `>>`. By 32 and more: 0.
    ShiftRight,
}

impl Operator {
    /// The result; `None` if the divisor is 0.
    #[inline]
    pub const fn apply(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide => return left.checked_div(right),
            Self::Modulo => return left.checked_rem(right),
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::ShiftLeft if right < 32 => left << right,
            Self::ShiftRight if right < 32 => left >> right,
            Self::ShiftLeft | Self::ShiftRight => 0,
        })
    }
}

/// A relation of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationOperator {
    /// `=`, `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}
