//! Arithmetic: constants are folded, masks become part of what is read, and loads become offsets in the frame.

use alloc::vec::Vec;

use super::layout::{Layout, Payload};
use crate::{
    expression::{Arithmetic, ArithmeticStep, IndexProtocol, Operator},
    program::{Base, Field, MAX_DEPTH, Metadata, Size, Value, ValueStep},
};

/// Steps that a value has at most. Only loads whose index is computed from other loads, over and over, come near it, and only
/// at XDP.
const MAX_STEPS: usize = 4096;

/// Bytes that no frame has.
const BEYOND_THE_END: Field = Field { base: Base::Frame, offset: u32::MAX, size: Size::Byte, mask: 0xff };

/// Why a value has no place on the stack of a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// An arithmetic expression as a value, and the protocols of which the packet has to be, in order of their first mention.
///
/// As in tcpdump, these are not all whose bytes it reads: an operator asks for those of its left operand only. So
/// `tcp[0] + len` asks for TCP, and `len + tcp[0]` for nothing, and reads what stands where TCP would.
pub(super) fn value(
    arithmetic: &Arithmetic,
    layout: &Layout,
    protocols: &mut Vec<IndexProtocol>,
) -> Result<Value, TooDeep> {
    let mut stack = Stack { layout, steps: Vec::new(), values: Vec::new() };
    for step in &arithmetic.steps {
        match *step {
            ArithmeticStep::Number(number) => stack.push(ValueStep::Constant(number), number),
            ArithmeticStep::Length => stack.length(),
            ArithmeticStep::Load { protocol, size } => stack.load(protocol, size)?,
            ArithmeticStep::Negate => stack.negate(),
            ArithmeticStep::Binary(operator) => stack.binary(operator),
        }
        if stack.steps.len() > MAX_STEPS {
            return Err(TooDeep);
        }
    }
    for protocol in stack.values.last().into_iter().flat_map(|value| &value.protocols) {
        if !protocols.contains(protocol) {
            protocols.push(*protocol);
        }
    }
    stack.finish()
}

/// A value on the stack: where its steps begin, a number that it does not exceed, and the protocols that it asks for.
struct Entry {
    start: usize,
    maximum: u32,
    protocols: Vec<IndexProtocol>,
}

struct Stack<'l> {
    layout: &'l Layout,
    steps: Vec<ValueStep>,
    values: Vec<Entry>,
}

impl Stack<'_> {
    fn push(&mut self, step: ValueStep, maximum: u32) {
        self.values.push(Entry { start: self.steps.len(), maximum, protocols: Vec::new() });
        self.steps.push(step);
    }

    /// `len`. Where a tag in the bytes counts as kept outside, it does not count.
    fn length(&mut self) {
        self.push(ValueStep::Metadata(Metadata::Length), u32::MAX);
        if self.layout.tag_is_inline() {
            self.steps.extend([ValueStep::Constant(4), ValueStep::Binary(Operator::Subtract)]);
        }
    }

    /// Takes the topmost value off if it is a constant.
    fn pop_constant(&mut self) -> Option<u32> {
        let constant = self.top_constant(1)?;
        self.values.pop();
        self.steps.pop();
        Some(constant)
    }

    /// The value so many places below the top, if it is a constant.
    fn top_constant(&self, depth: usize) -> Option<u32> {
        let index = self.values.len().checked_sub(depth)?;
        let start = self.values.get(index)?.start;
        let end = self.values.get(index + 1).map_or(self.steps.len(), |next| next.start);
        match self.steps.get(start..end)? {
            [ValueStep::Constant(constant)] => Some(*constant),
            _ => None,
        }
    }

    fn negate(&mut self) {
        if let Some(constant) = self.pop_constant() {
            let value = constant.wrapping_neg();
            return self.push(ValueStep::Constant(value), value);
        }
        if let Some(entry) = self.values.last_mut() {
            entry.maximum = u32::MAX;
            self.steps.push(ValueStep::Negate);
        }
    }

    fn binary(&mut self, operator: Operator) {
        if let (Some(left), Some(right)) = (self.top_constant(2), self.top_constant(1))
            && let Some(value) = operator.apply(left, right)
        {
            self.pop_constant();
            self.pop_constant();
            return self.push(ValueStep::Constant(value), value);
        }
        if operator == Operator::And && self.mask() {
            return;
        }
        let Some(right) = self.values.pop() else { return };
        let constant = match self.steps.get(right.start..) {
            Some([ValueStep::Constant(constant)]) => Some(*constant),
            _ => None,
        };
        let Some(left) = self.values.last_mut() else { return };
        let (low, high) = (left.maximum.min(right.maximum), left.maximum.max(right.maximum));
        left.maximum = match (operator, constant) {
            (Operator::And, _) => low,
            (Operator::Or | Operator::Xor, _) => u32::MAX.checked_shr(high.leading_zeros()).unwrap_or(0),
            (Operator::Add, _) => left.maximum.saturating_add(right.maximum),
            (Operator::Multiply, _) => left.maximum.saturating_mul(right.maximum),
            (Operator::ShiftLeft, Some(shift)) => {
                u32::try_from(u64::from(left.maximum).checked_shl(shift).unwrap_or(0)).unwrap_or(u32::MAX)
            }
            (Operator::ShiftRight, Some(shift)) => left.maximum.checked_shr(shift).unwrap_or(0),
            (Operator::ShiftRight | Operator::Divide, None) => left.maximum,
            (Operator::Divide, Some(divisor)) => left.maximum.checked_div(divisor).unwrap_or(0),
            (Operator::Modulo, _) => right.maximum,
            (Operator::Subtract, _) | (Operator::ShiftLeft, None) => u32::MAX,
        };
        self.steps.push(ValueStep::Binary(operator));
    }

    /// `field & constant`: the constant becomes the field's mask.
    fn mask(&mut self) -> bool {
        let (field, constant) = match (self.top_constant(2), self.top_constant(1), self.steps.as_slice()) {
            (_, Some(constant), [.., step, _]) | (Some(constant), _, [.., _, step]) => (*step, constant),
            _ => return false,
        };
        let masked = match field {
            ValueStep::Field(field) => ValueStep::Field(Field { mask: field.mask & constant, ..field }),
            ValueStep::Indexed(field) => ValueStep::Indexed(Field { mask: field.mask & constant, ..field }),
            _ => return false,
        };
        let (Some(right), Some(left)) = (self.values.pop(), self.values.pop()) else { return false };
        if self.top_is_constant(left.start, right.start) {
            self.steps.remove(left.start);
        } else {
            self.steps.pop();
        }
        self.steps.pop();
        self.steps.push(masked);
        let maximum = left.maximum.min(right.maximum);
        self.values.push(Entry { start: left.start, maximum, protocols: left.protocols });
        true
    }

    fn top_is_constant(&self, start: usize, end: usize) -> bool {
        matches!(self.steps.get(start..end), Some([ValueStep::Constant(_)]))
    }

    /// `P[index:size]`; the index is the topmost value.
    fn load(&mut self, protocol: IndexProtocol, size: Size) -> Result<(), TooDeep> {
        let mask = all_bits(size);
        let own: &[_] = if protocol == IndexProtocol::Ether { &[] } else { &[protocol] };
        let field = match self.layout.payload(protocol) {
            Payload::Frame(offset) => Field { base: Base::Frame, offset, size, mask },
            Payload::Ipv4(header) => Field { base: Base::Ipv4Payload { header }, offset: 0, size, mask },
        };
        if let Some(constant) = self.pop_constant() {
            let field = Field { offset: field.offset.wrapping_add(constant), ..field };
            let start = self.steps.len();
            if let Base::Ipv4Payload { header } = field.base
                && self.layout.is_file
                && header.wrapping_add(constant) > i32::MAX as u32
            {
                self.steps.push(ValueStep::Field(BEYOND_THE_END));
            } else if self.layout.tag_is_inline() && (field.base == Base::Frame || constant > i32::MAX as u32)
            {
                match field.base {
                    Base::Frame => self.layout.read(&mut self.steps, field),
                    Base::Ipv4Payload { header } => {
                        self.index_of_payload(header, header.wrapping_add(field.offset));
                        self.read_around_tag(start, size)?;
                    }
                }
            } else {
                self.steps.push(ValueStep::Field(self.layout.behind_tag(field)));
            }
            self.values.push(Entry { start, maximum: mask, protocols: own.to_vec() });
            return Ok(());
        }
        let Some(index) = self.values.last() else { return Ok(()) };
        let (start, maximum) = (index.start, index.maximum);
        let may_lie_before_the_tag = field.base == Base::Frame && field.offset < 12;
        if self.layout.tag_is_inline() && (maximum > i32::MAX as u32 || may_lie_before_the_tag) {
            match field.base {
                Base::Frame if field.offset == 0 => {}
                Base::Frame => {
                    let offset = ValueStep::Constant(field.offset);
                    self.steps.extend([offset, ValueStep::Binary(Operator::Add)]);
                }
                Base::Ipv4Payload { header } => {
                    self.index_of_payload(header, header);
                    self.steps.push(ValueStep::Binary(Operator::Add));
                }
            }
            self.read_around_tag(start, size)?;
        } else if self.layout.is_file && maximum > i32::MAX as u32 {
            self.read_without_wrapping(start, field)?;
        } else {
            self.steps.push(ValueStep::Indexed(self.layout.behind_tag(field)));
        }
        if let Some(index) = self.values.last_mut() {
            index.maximum = mask;
            index.protocols.extend(own);
        }
        Ok(())
    }

    /// Pushes the length of the IPv4 header at `header`, plus `offset`; as if the tag were not in the bytes, if it does not count.
    fn index_of_payload(&mut self, header: u32, offset: u32) {
        let length = Field { base: Base::Frame, offset: header, size: Size::Byte, mask: 0x0f };
        self.layout.read(&mut self.steps, length);
        self.steps.extend([
            ValueStep::Constant(2),
            ValueStep::Binary(Operator::ShiftLeft),
            ValueStep::Constant(offset),
            ValueStep::Binary(Operator::Add),
        ]);
    }

    /// Replaces an index, whose steps begin at `start`, by the bytes there; a negative one lies beyond the end of the frame, and
    /// does not wrap to bytes before the header. That is what tcpdump's interpreter, which it uses for files, makes of it; the
    /// kernel lets it wrap.
    fn read_without_wrapping(&mut self, start: usize, field: Field) -> Result<(), TooDeep> {
        let header = match field.base {
            Base::Frame => field.offset,
            Base::Ipv4Payload { header } => {
                self.index_of_payload(header, field.offset);
                self.steps.push(ValueStep::Binary(Operator::Add));
                header
            }
        };
        let index = self.steps.split_off(start);
        if index.len() > MAX_STEPS / 2 {
            return Err(TooDeep);
        }
        // All ones if the index is negative, and one that is no negative number cannot become one that matters.
        self.steps.extend(&index);
        self.steps.extend([
            ValueStep::Constant(31),
            ValueStep::Binary(Operator::ShiftRight),
            ValueStep::Negate,
        ]);
        self.steps.extend(&index);
        self.steps.extend([
            ValueStep::Constant(header),
            ValueStep::Binary(Operator::Add),
            ValueStep::Binary(Operator::Or),
            ValueStep::Indexed(Field { base: Base::Frame, offset: 0, ..field }),
        ]);
        Ok(())
    }

    /// Replaces an index, whose steps begin at `start`, by the bytes there, as if the tag at 12 were not in the frame.
    ///
    /// That is `read(i + 4) & !m | read(i) & m`, where `m` has the bits of the bytes that lie before offset 12. `all >> (12 - i) *
    /// 8` is `!m` for `i` up to 12; a greater one gives a shift that is out of range, and is caught by the sign of `11 - i`.
    fn read_around_tag(&mut self, start: usize, size: Size) -> Result<(), TooDeep> {
        let index = self.steps.split_off(start);
        if index.len() > MAX_STEPS / 8 {
            return Err(TooDeep);
        }
        let all = all_bits(size);
        let read = |offset| ValueStep::Indexed(Field { base: Base::Frame, offset, size, mask: all });
        let (constant, binary) = (ValueStep::Constant, ValueStep::Binary);
        let mut not_before: Vec<ValueStep> = Vec::new();
        // Bits of bytes from offset 12 on: `all >> ((12 - i) << 3)`, or all of them if `11 - i` is negative.
        not_before.push(constant(all));
        not_before.extend(&index);
        not_before.extend([
            ValueStep::Negate,
            constant(12),
            binary(Operator::Add),
            constant(3),
            binary(Operator::ShiftLeft),
            binary(Operator::ShiftRight),
        ]);
        not_before.extend(&index);
        not_before.extend([
            ValueStep::Negate,
            constant(11),
            binary(Operator::Add),
            constant(31),
            binary(Operator::ShiftRight),
            constant(all),
            binary(Operator::Multiply),
            binary(Operator::Or),
        ]);
        self.steps.extend(&index);
        self.steps.push(read(4));
        self.steps.extend(&not_before);
        self.steps.push(binary(Operator::And));
        self.steps.extend(&index);
        self.steps.push(read(0));
        self.steps.extend(&not_before);
        self.steps.extend([
            constant(all),
            binary(Operator::Xor),
            binary(Operator::And),
            binary(Operator::Or),
        ]);
        Ok(())
    }

    fn finish(self) -> Result<Value, TooDeep> {
        let mut depth = 0_usize;
        let mut deepest = 0;
        for step in &self.steps {
            match step {
                ValueStep::Constant(_) | ValueStep::Metadata(_) | ValueStep::Field(_) => depth += 1,
                ValueStep::Indexed(_) | ValueStep::Negate => {}
                ValueStep::Binary(_) => depth = depth.saturating_sub(1),
            }
            deepest = deepest.max(depth);
        }
        if deepest > MAX_DEPTH {
            return Err(TooDeep);
        }
        Ok(match self.steps.as_slice() {
            [] => Value::Constant(0),
            [ValueStep::Constant(constant)] => Value::Constant(*constant),
            [ValueStep::Metadata(metadata)] => Value::Metadata(*metadata),
            [ValueStep::Field(field)] => Value::Field(*field),
            _ => Value::Computed(self.steps.into_boxed_slice()),
        })
    }
}

/// All bits of a value of this size.
pub(super) const fn all_bits(size: Size) -> u32 {
    match size {
        Size::Byte => 0xff,
        Size::Half => 0xffff,
        Size::Word => u32::MAX,
    }
}
