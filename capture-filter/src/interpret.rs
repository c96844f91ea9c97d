//! What a program says of a frame: the back end for files.
//!
//! [`Program::evaluate`] does what the program says, test by test. A [`Matcher`] is a program in a form that says the same in
//! a fraction of the time.

use alloc::vec::Vec;
use core::hint::black_box;

use crate::program::{
    Base, Field, MAX_DEPTH, Metadata, Next, Program, Relation, Size, Test, Value, ValueStep,
};

/// A frame, and what is known about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'d> {
    /// The captured bytes.
    pub data: &'d [u8],
    /// The frame's length on the wire in bytes.
    pub wire_len: u32,
    /// The index of the interface it was captured on; 0 if that is not known.
    pub ifindex: u32,
    /// The control information of a tag that is kept outside of `data`.
    pub tag: Option<u16>,
}

impl Program {
    /// Whether a frame matches. What lies beyond its captured bytes does not match, whatever asks for it, nor what divides by
    /// zero.
    #[inline]
    pub fn matches(&self, frame: &Frame<'_>) -> bool {
        self.evaluate(frame) == Some(true)
    }

    /// As [`matches`](Self::matches); `None` if a load beyond the captured bytes, or a division by zero, ended the program.
    #[inline]
    pub fn evaluate(&self, frame: &Frame<'_>) -> Option<bool> {
        let mut next = self.entry;
        loop {
            match next {
                Next::Accept => return Some(true),
                Next::Reject => return Some(false),
                Next::Test(index) => {
                    let test = self.tests.get(index as usize)?;
                    next = if test.holds(frame)? { test.yes } else { test.no };
                }
            }
        }
    }
}

/// A program, made ready to be asked about many frames.
#[derive(Clone, Debug)]
pub struct Matcher {
    entry: u32,
    steps: Vec<Step>,
    /// The program, for tests that are no comparison of a field with a constant.
    program: Program,
}

/// A test: `low <= value & mask <= low + span`.
#[derive(Clone, Copy, Debug)]
struct Step {
    load: Load,
    offset: u32,
    /// Where the IPv4 header begins, if the offset counts from its end.
    header: u32,
    mask: u32,
    low: u32,
    span: u32,
    yes: u32,
    no: u32,
}

/// What a step reads.
#[derive(Clone, Copy, Debug)]
enum Load {
    Byte,
    Half,
    Word,
    PayloadByte,
    PayloadHalf,
    PayloadWord,
    /// The step is the program's test of the same index.
    Other,
}

/// Indices of steps that are none.
const ACCEPT: u32 = u32::MAX;
const REJECT: u32 = u32::MAX - 1;

const fn index(next: Next) -> u32 {
    match next {
        Next::Test(index) => index,
        Next::Accept => ACCEPT,
        Next::Reject => REJECT,
    }
}

impl Step {
    fn of(test: &Test) -> Self {
        let (yes, no) = (index(test.yes), index(test.no));
        let other = Self { load: Load::Other, offset: 0, header: 0, mask: 0, low: 0, span: 0, yes, no };
        let (Value::Field(field), &Value::Constant(constant)) = (&test.left, &test.right) else {
            return other;
        };
        let (mask, low, span) = match test.relation {
            Relation::Equal => (field.mask, constant, 0),
            Relation::GreaterOrEqual => (field.mask, constant, u32::MAX - constant),
            // Nothing is greater than the greatest number.
            Relation::Greater if constant == u32::MAX => return other,
            Relation::Greater => (field.mask, constant + 1, u32::MAX - 1 - constant),
            Relation::AnyBit => (field.mask & constant, 1, u32::MAX - 1),
        };
        let (load, header) = match (field.base, field.size) {
            (Base::Frame, Size::Byte) => (Load::Byte, 0),
            (Base::Frame, Size::Half) => (Load::Half, 0),
            (Base::Frame, Size::Word) => (Load::Word, 0),
            (Base::Ipv4Payload { header }, Size::Byte) => (Load::PayloadByte, header),
            (Base::Ipv4Payload { header }, Size::Half) => (Load::PayloadHalf, header),
            (Base::Ipv4Payload { header }, Size::Word) => (Load::PayloadWord, header),
        };
        let offset = field.offset.wrapping_add(header);
        Self { load, offset, header, mask, low, span, yes, no }
    }
}

impl Matcher {
    /// Makes a program ready.
    pub fn new(program: Program) -> Self {
        let steps = program.tests.iter().map(Step::of).collect();
        Self { entry: index(program.entry), steps, program }
    }

    /// As [`Program::matches`].
    #[inline]
    pub fn matches(&self, frame: &Frame<'_>) -> bool {
        let mut next = self.entry;
        // A verdict is no step.
        while let Some(step) = self.steps.get(next as usize) {
            let loaded = match step.load {
                Load::Byte => byte(frame.data, step.offset),
                Load::Half => half(frame.data, step.offset),
                Load::Word => word(frame.data, step.offset),
                Load::PayloadByte => payload(frame.data, step).and_then(|offset| byte(frame.data, offset)),
                Load::PayloadHalf => payload(frame.data, step).and_then(|offset| half(frame.data, offset)),
                Load::PayloadWord => payload(frame.data, step).and_then(|offset| word(frame.data, offset)),
                Load::Other => {
                    let test = self.program.tests.get(next as usize);
                    let Some(answer) = test.and_then(|test| test.holds(frame)) else { return false };
                    next = if answer { step.yes } else { step.no };
                    continue;
                }
            };
            let Some(value) = loaded else { return false };
            if (value & step.mask).wrapping_sub(step.low) <= step.span {
                // Keeps this a jump, which the processor predicts. A conditional move would make it wait for each
                // test's answer before it can begin with the next one.
                black_box(());
                next = step.yes;
            } else {
                next = step.no;
            }
        }
        next == ACCEPT
    }
}

#[inline]
fn byte(data: &[u8], offset: u32) -> Option<u32> {
    data.get(offset as usize).copied().map(u32::from)
}

#[inline]
fn half(data: &[u8], offset: u32) -> Option<u32> {
    data.get(offset as usize..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes).into())
}

#[inline]
fn word(data: &[u8], offset: u32) -> Option<u32> {
    data.get(offset as usize..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The offset of a step that counts from the end of an IPv4 header.
#[inline]
fn payload(data: &[u8], step: &Step) -> Option<u32> {
    let first = byte(data, step.header)?;
    Some(step.offset.wrapping_add((first & 15) * 4))
}

impl Test {
    /// Whether the relation holds; `None` ends the program. Apart from what is asked most often, so that this stays short.
    #[inline(never)]
    fn holds(&self, frame: &Frame<'_>) -> Option<bool> {
        let left = self.left.of(frame)?;
        let right = self.right.of(frame)?;
        Some(self.relation.holds(left, right))
    }
}

impl Relation {
    /// Whether it holds between two values.
    #[inline]
    pub const fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::AnyBit => left & right != 0,
        }
    }
}

impl Value {
    #[inline]
    fn of(&self, frame: &Frame<'_>) -> Option<u32> {
        match self {
            Self::Constant(constant) => Some(*constant),
            Self::Field(field) => field.of(frame, 0),
            Self::Metadata(metadata) => Some(metadata.of(frame)),
            Self::Computed(steps) => compute(steps, frame),
        }
    }
}

impl Field {
    /// The bytes at the field's offset plus `index`.
    #[inline]
    fn of(&self, frame: &Frame<'_>, index: u32) -> Option<u32> {
        let offset = self.offset.wrapping_add(index);
        let offset = match self.base {
            Base::Frame => offset,
            Base::Ipv4Payload { header } => {
                let first = byte(frame.data, header)?;
                offset.wrapping_add(header).wrapping_add((first & 15) * 4)
            }
        };
        let value = match self.size {
            Size::Byte => byte(frame.data, offset)?,
            Size::Half => half(frame.data, offset)?,
            Size::Word => word(frame.data, offset)?,
        };
        Some(value & self.mask)
    }
}

impl Metadata {
    #[inline]
    fn of(self, frame: &Frame<'_>) -> u32 {
        match self {
            Self::Length => frame.wire_len,
            Self::IfIndex => frame.ifindex,
            Self::TagPresent => u32::from(frame.tag.is_some()),
            Self::TagControl => frame.tag.map_or(0, u32::from),
            // A program for a packet socket, which nothing else runs.
            Self::PacketType => 0,
        }
    }
}

/// Runs a value's steps. The depth of the stack has been checked when they were made; what does not fit rejects.
fn compute(steps: &[ValueStep], frame: &Frame<'_>) -> Option<u32> {
    let mut stack = [0_u32; MAX_DEPTH];
    let mut depth = 0_usize;
    for step in steps {
        let value = match step {
            ValueStep::Constant(constant) => *constant,
            ValueStep::Metadata(metadata) => metadata.of(frame),
            ValueStep::Field(field) => field.of(frame, 0)?,
            ValueStep::Indexed(field) => {
                depth = depth.checked_sub(1)?;
                field.of(frame, *stack.get(depth)?)?
            }
            ValueStep::Negate => {
                depth = depth.checked_sub(1)?;
                stack.get(depth)?.wrapping_neg()
            }
            ValueStep::Binary(operator) => {
                depth = depth.checked_sub(2)?;
                operator.apply(*stack.get(depth)?, *stack.get(depth + 1)?)?
            }
        };
        *stack.get_mut(depth)? = value;
        depth += 1;
    }
    depth.checked_sub(1).and_then(|top| stack.get(top).copied())
}
