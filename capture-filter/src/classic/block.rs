//! The instructions of one test.

use alloc::vec::Vec;

use super::{
    Content, Instruction, Registers,
    codes::{
        ABS, ALU, BYTE, HALF, IFINDEX, IMM, IND, JA, JEQ, JGE, JGT, JSET, LD, LDX_MSH, LEN, MEM, NEG,
        PACKET_TYPE, RET, ST, TAX, TXA, VLAN_TAG, VLAN_TAG_PRESENT, X,
    },
    plain,
};
use crate::program::{Base, Field, Metadata, Operator, Relation, Size, Test, Value, ValueStep};

/// No packet has a byte there. Offsets from 2 to the power of 31 on mean something else to the kernel.
const BEYOND_THE_END: u32 = 0x7fff_ffff;

/// The instructions of a test.
pub(super) struct Block {
    pub(super) instructions: Vec<Instruction>,
    pub(super) known: Registers,
}

/// The jump at the end of a test.
pub(super) struct Comparison {
    pub(super) code: u16,
    pub(super) k: u32,
    /// Whether it holds if the test's relation does not.
    pub(super) is_exchanged: bool,
}

impl Block {
    fn push(&mut self, code: u16, k: u32) {
        self.instructions.push(plain(code, k));
    }

    /// Brings the left side into register A, and the right side into X if it is no constant.
    pub(super) fn compare(&mut self, test: &Test) -> Comparison {
        let code = match test.relation {
            Relation::Equal => JEQ,
            Relation::Greater => JGT,
            Relation::GreaterOrEqual => JGE,
            Relation::AnyBit => JSET,
        };
        if let Value::Constant(k) = test.right {
            if let Value::Field(field) = test.left
                && field.mask != all_bits(field.size)
                && (test.relation, k) == (Relation::Equal, 0)
            {
                self.field(field);
                return Comparison { code: JSET, k: field.mask, is_exchanged: true };
            }
            self.value(&test.left, 0);
            return Comparison { code, k, is_exchanged: false };
        }
        self.value(&test.left, 0);
        self.push(ST, 0);
        self.value(&test.right, 1);
        self.push(TAX, 0);
        self.push(LD | MEM, 0);
        self.known = Registers::default();
        Comparison { code: code | X, k: 0, is_exchanged: false }
    }

    /// Brings a value into A. Scratch memory is free from `depth` on.
    fn value(&mut self, value: &Value, depth: u32) {
        match value {
            Value::Constant(constant) => self.constant(*constant),
            Value::Field(field) => self.masked_field(*field),
            Value::Metadata(metadata) => self.metadata(*metadata),
            Value::Computed(steps) => self.steps(steps, depth),
        }
    }

    fn constant(&mut self, constant: u32) {
        self.push(LD | IMM, constant);
        self.known.a = None;
    }

    fn metadata(&mut self, metadata: Metadata) {
        let content = Some(Content::Metadata(metadata));
        if self.known.a == content {
            return;
        }
        match metadata {
            Metadata::Length => self.push(LD | LEN, 0),
            Metadata::IfIndex => self.push(LD | ABS, IFINDEX),
            // Sizes as tcpdump writes them; the kernel does not look at them.
            Metadata::TagPresent => self.push(LD | BYTE | ABS, VLAN_TAG_PRESENT),
            Metadata::TagControl => self.push(LD | BYTE | ABS, VLAN_TAG),
            Metadata::PacketType => self.push(LD | HALF | ABS, PACKET_TYPE),
        }
        self.known.a = content;
    }

    /// Brings all bits of a field into A.
    fn field(&mut self, field: Field) {
        let content = Some(Content::Field(Field { mask: all_bits(field.size), ..field }));
        if self.known.a == content {
            return;
        }
        let load = LD | size_code(field.size);
        match field.base {
            Base::Frame => self.push(load | ABS, field.offset.min(BEYOND_THE_END)),
            Base::Ipv4Payload { header } => {
                self.header_length(header);
                let offset = header.wrapping_add(field.offset);
                if offset <= BEYOND_THE_END {
                    self.push(load | IND, offset);
                } else {
                    // libpcap's interpreter does not let the sum wrap.
                    self.push(TXA, 0);
                    self.push(ALU | operation(Operator::Add), offset);
                    self.push(TAX, 0);
                    self.push(load | IND, 0);
                    self.known.x = None;
                }
            }
        }
        self.known.a = content;
    }

    fn masked_field(&mut self, field: Field) {
        self.field(field);
        self.mask(field);
    }

    fn mask(&mut self, field: Field) {
        if field.mask != all_bits(field.size) {
            self.push(ALU | operation(Operator::And), field.mask);
            self.known.a = None;
        }
    }

    /// Brings the length of an IPv4 header into X. A stays what it is.
    fn header_length(&mut self, header: u32) {
        let content = Some(Content::HeaderLength(header));
        if self.known.x != content {
            self.push(LDX_MSH, header.min(BEYOND_THE_END));
            self.known.x = content;
        }
    }

    /// Brings a computed value into A. The topmost value of the stack is in A, the others in scratch memory.
    fn steps(&mut self, steps: &[ValueStep], first_free: u32) {
        // Values on the stack.
        let mut depth = 0_u32;
        let mut steps = steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                ValueStep::Constant(_) | ValueStep::Metadata(_) | ValueStep::Field(_) => {
                    if let (ValueStep::Constant(constant), Some(ValueStep::Binary(operator))) =
                        (step, steps.peek())
                        && depth > 0
                    {
                        self.with_constant(*operator, *constant);
                        steps.next();
                        continue;
                    }
                    if depth > 0 {
                        self.push(ST, first_free + depth - 1);
                    }
                    match step {
                        ValueStep::Constant(constant) => self.constant(*constant),
                        ValueStep::Metadata(metadata) => self.metadata(*metadata),
                        ValueStep::Field(field) => self.masked_field(*field),
                        _ => {}
                    }
                    depth += 1;
                }
                ValueStep::Indexed(field) => self.indexed(*field),
                ValueStep::Negate => {
                    self.push(NEG, 0);
                    self.known.a = None;
                }
                ValueStep::Binary(operator) => {
                    depth = depth.saturating_sub(1);
                    self.with_saved(*operator, first_free + depth.saturating_sub(1));
                }
            }
        }
    }

    /// Replaces the index in A by the bytes there.
    fn indexed(&mut self, field: Field) {
        let load = LD | size_code(field.size) | IND;
        match field.base {
            Base::Frame => {
                self.push(TAX, 0);
                self.push(load, field.offset.min(BEYOND_THE_END));
            }
            Base::Ipv4Payload { header } => {
                self.header_length(header);
                self.push(ALU | operation(Operator::Add) | X, 0);
                self.push(TAX, 0);
                self.push(load, header.wrapping_add(field.offset).min(BEYOND_THE_END));
            }
        }
        self.known = Registers::default();
        self.mask(field);
    }

    /// Combines A with a constant on its right.
    fn with_constant(&mut self, operator: Operator, constant: u32) {
        self.known.a = None;
        match operator {
            // The kernel refuses these constants.
            Operator::ShiftLeft | Operator::ShiftRight if constant > 31 => self.push(LD | IMM, 0),
            Operator::Divide | Operator::Modulo if constant == 0 => self.push(RET, 0),
            _ => self.push(ALU | operation(operator), constant),
        }
    }

    /// Combines a saved value with A on its right.
    fn with_saved(&mut self, operator: Operator, saved: u32) {
        self.known = Registers::default();
        let is_shift = matches!(operator, Operator::ShiftLeft | Operator::ShiftRight);
        if is_shift {
            // The kernel looks at five bits of the distance only.
            self.instructions.push(Instruction { code: JGT, jt: 4, jf: 0, k: 31 });
        }
        self.push(TAX, 0);
        self.push(LD | MEM, saved);
        self.push(ALU | operation(operator) | X, 0);
        if is_shift {
            self.push(JA, 1);
            self.push(LD | IMM, 0);
        }
    }
}

const fn all_bits(size: Size) -> u32 {
    match size {
        Size::Byte => 0xff,
        Size::Half => 0xffff,
        Size::Word => u32::MAX,
    }
}

const fn size_code(size: Size) -> u16 {
    match size {
        Size::Byte => BYTE,
        Size::Half => HALF,
        Size::Word => 0,
    }
}

const fn operation(operator: Operator) -> u16 {
    match operator {
        Operator::Add => 0x00,
        Operator::Subtract => 0x10,
        Operator::Multiply => 0x20,
        Operator::Divide => 0x30,
        Operator::Or => 0x40,
        Operator::And => 0x50,
        Operator::ShiftLeft => 0x60,
        Operator::ShiftRight => 0x70,
        Operator::Modulo => 0x90,
        Operator::Xor => 0xa0,
    }
}
