//! What is known on all ways to a place in the program.

use alloc::vec::Vec;

use crate::program::{Base, Field, Next, Program, Size, Test, Value, ValueStep};

/// Bytes from the start of the frame, or of the IPv4 payload's base, that are read directly at most: what an
/// instruction's offset can express, and less than what the verifier follows (kernel/bpf/verifier.c, `MAX_PACKET_OFF`)
/// when a computed index is added.
pub(super) const DIRECT_REACH: u32 = 0x3fff;

/// Which bytes of the frame a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) base: Base,
    pub(super) offset: u32,
    pub(super) size: Size,
    /// Whether they are in the order of numbers of the host; otherwise as they came.
    pub(super) swapped: bool,
}

impl Held {
    /// The bytes of a field, as they come.
    pub(super) const fn of(field: Field) -> Self {
        Self { base: field.base, offset: field.offset, size: field.size, swapped: false }
    }

    /// Whether these are the bytes of the field, in whatever order.
    pub(super) fn is(self, field: Field) -> bool {
        (self.base, self.offset, self.size) == (field.base, field.offset, field.size)
    }
}

/// What register R9 holds: where an IPv4 header ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Offset of the IPv4 header.
    pub(super) header: u32,
    /// How many bytes from `header` bytes before R9's address on have been compared with the end. Unlike the frame's it
    /// counts from an address that is not known, so one does not follow from the other.
    pub(super) length: u32,
}

/// The facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The linear part has at least so many bytes.
    pub(super) frame: u32,
    pub(super) payload: Option<Payload>,
    /// What R2 holds.
    pub(super) held: Option<Held>,
}

impl Facts {
    pub(super) const NONE: Self = Self { frame: 0, payload: None, held: None };

    /// What holds on both of two ways.
    pub(super) fn common(self, other: Self) -> Self {
        let payload = match (self.payload, other.payload) {
            (Some(one), Some(two)) if one.header == two.header => {
                Some(Payload { length: one.length.min(two.length), ..one })
            }
            _ => None,
        };
        Self {
            frame: self.frame.min(other.frame),
            payload,
            held: self.held.filter(|_| self.held == other.held),
        }
    }
}

/// What a packet needs to have if the program is to accept it, from some test on. To compare the length with more than
/// the next load needs saves comparisons later; a packet that is too short is left to the slow copy, which is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// As [`Facts::frame`].
    pub(super) frame: u32,
    /// As [`Facts::payload`].
    pub(super) payload: Option<Payload>,
}

impl Need {
    /// The need of each test.
    pub(super) fn of(program: &Program) -> Vec<Self> {
        let mut needs = alloc::vec![Self::default(); program.tests.len()];
        for (index, test) in program.tests.iter().enumerate().rev() {
            let after = |next| match next {
                Next::Accept => Some(Self::default()),
                // It has nothing to find out any more.
                Next::Reject => None,
                Next::Test(next) => needs.get(next as usize).copied(),
            };
            let then = match (after(test.yes), after(test.no)) {
                (Some(yes), Some(no)) => yes.least(no),
                (Some(need), None) | (None, Some(need)) => need,
                (None, None) => Self::default(),
            };
            let need = fields(test).fold(Self::default(), Self::with).most(then);
            if let Some(place) = needs.get_mut(index) {
                *place = need;
            }
        }
        needs
    }

    fn with(self, field: Field) -> Self {
        let end = field.offset.saturating_add(field.size.bytes());
        let read = match field.base {
            Base::Frame if end <= DIRECT_REACH => Self { frame: end, payload: None },
            Base::Ipv4Payload { header } if header.saturating_add(end) <= DIRECT_REACH => {
                // The two ports, or other halves of a word, are compared at once.
                let length = header + end.next_multiple_of(4);
                Self { frame: header + 1, payload: Some(Payload { header, length }) }
            }
            // They are not read directly.
            _ => Self::default(),
        };
        read.most(self)
    }

    fn most(self, other: Self) -> Self {
        let payload = match (self.payload, other.payload) {
            (Some(one), Some(two)) if one.header == two.header => {
                Some(Payload { length: one.length.max(two.length), ..one })
            }
            (one, two) => one.or(two),
        };
        Self { frame: self.frame.max(other.frame), payload }
    }

    fn least(self, other: Self) -> Self {
        let payload = match (self.payload, other.payload) {
            (Some(one), Some(two)) if one.header == two.header => {
                Some(Payload { length: one.length.min(two.length), ..one })
            }
            _ => None,
        };
        Self { frame: self.frame.min(other.frame), payload }
    }
}

/// The fields at offsets that are known.
fn fields(test: &Test) -> impl Iterator<Item = Field> {
    [&test.left, &test.right].into_iter().flat_map(|value| {
        let (single, steps): (Option<Field>, &[ValueStep]) = match value {
            Value::Field(field) => (Some(*field), &[]),
            Value::Computed(steps) => (None, steps),
            Value::Constant(_) | Value::Metadata(_) => (None, &[]),
        };
        let computed = steps.iter().filter_map(|step| match step {
            ValueStep::Field(field) => Some(*field),
            _ => None,
        });
        single.into_iter().chain(computed)
    })
}
