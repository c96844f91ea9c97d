//! The intermediate form: what an expression asks of frames of one kind, as a graph of tests.
//!
//! Each test leads to a later one or to a verdict, so there are no loops. A test reads the frame at offsets that are
//! known when it is made, at an offset after the IPv4 header, or at a computed one. There are no side effects: a back end
//! may begin again.
//!
//! **A load beyond the end of the frame, and a division by zero, end the program: the packet does not match.**

use alloc::{boxed::Box, vec::Vec};

pub use crate::expression::{Operator, Size};

/// What decides about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it begins.
    pub entry: Next,
    /// The tests. Each leads only to tests that come after it.
    pub tests: Vec<Test>,
}

impl Program {
    /// The program that accepts what both accept. The tests of this one come first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let first = u32::try_from(self.tests.len()).unwrap_or(u32::MAX);
        let moved = |next| match next {
            Next::Test(index) => Next::Test(first.saturating_add(index)),
            verdict => verdict,
        };
        let accept = moved(other.entry);
        let continued = |next| if next == Next::Accept { accept } else { next };
        self.entry = continued(self.entry);
        for test in &mut self.tests {
            (test.yes, test.no) = (continued(test.yes), continued(test.no));
        }
        let others = other.tests.into_iter();
        self.tests.extend(others.map(|test| Test { yes: moved(test.yes), no: moved(test.no), ..test }));
        self
    }
}

/// A comparison of two unsigned values of 32 bits, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The left side.
    pub left: Value,
    /// How they are compared.
    pub relation: Relation,
    /// The right side: most often a constant.
    pub right: Value,
    /// Where it leads if the relation holds.
    pub yes: Next,
    /// Where it leads if it does not.
    pub no: Next,
}

/// Where a test leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    /// To the test of this index.
    Test(u32),
    /// The packet matches.
    Accept,
    /// It does not.
    Reject,
}

/// The relations of classic BPF. The others are these with `yes` and `no` exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// The values are equal.
    Equal,
    /// The left one is greater.
    Greater,
    /// The left one is greater, or they are equal.
    GreaterOrEqual,
    /// They have a bit in common.
    AnyBit,
}

/// A value of 32 bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A constant.
    Constant(u32),
    /// Bytes of the frame.
    Field(Field),
    /// What the kernel knows about the packet.
    Metadata(Metadata),
    /// Whatever else: arithmetic, in postfix order, for a stack of at most [`MAX_DEPTH`] values. At least one step.
    Computed(Box<[ValueStep]>),
}

/// How many values a [`Value::Computed`] has on its stack at most.
pub const MAX_DEPTH: usize = 16;

/// Bytes of the frame, in network byte order, and which of their bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// What the offset counts from.
    pub base: Base,
    /// The offset in bytes.
    pub offset: u32,
    /// How many bytes.
    pub size: Size,
    /// The value is `bytes & mask`. Bits above the size are 0.
    pub mask: u32,
}

/// What an offset counts from. Sums of offsets wrap at 32 bits, and what wraps to before the frame's start (`tcp[-100]`)
/// lies far beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// The frame's first byte.
    Frame,
    /// The end of an IPv4 header that begins at `header`: `header + (frame[header] & 15) * 4`. Reads that byte, too.
    Ipv4Payload {
        /// Offset of the IPv4 header from the frame's start, in bytes.
        header: u32,
    },
}

/// What is known about a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metadata {
    /// Length of the frame on the wire, in bytes, without a tag that the kernel keeps outside of it.
    Length,
    /// The interface's index.
    IfIndex,
    /// 1 if the kernel keeps a VLAN tag outside of the frame, otherwise 0.
    TagPresent,
    /// That tag's control information: 3 bits of priority, 1 bit, 12 bits of identifier.
    TagControl,
    /// What a packet socket says of the packet's way (linux/if_packet.h): 4 if it leaves the machine. Only programs for a
    /// packet socket read it: hooks know their way.
    PacketType,
}

/// A step of a [`Value::Computed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueStep {
    /// Pushes a constant.
    Constant(u32),
    /// Pushes what the kernel knows.
    Metadata(Metadata),
    /// Pushes bytes of the frame.
    Field(Field),
    /// Pops a number and pushes the bytes at `field.offset` plus that number (the sum wraps).
    Indexed(Field),
    /// Pops one value, pushes its two's complement.
    Negate,
    /// Pops two values; the upper one is the right operand.
    Binary(Operator),
}
