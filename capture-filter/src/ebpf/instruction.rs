//! Instructions of eBPF, as RFC 9669 defines them and the kernel loads them.

use core::fmt;

use crate::program::Size;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class and operation.
    pub opcode: u8,
    /// The register that is written, or the left side of a comparison: 0 to 10.
    pub destination: u8,
    /// The register that is read, or the right side of a comparison: 0 to 10.
    pub source: u8,
    /// Of a jump: how many instructions are skipped. Of a load or store: what is added to the address.
    pub offset: i16,
    /// The constant operand.
    pub immediate: i32,
}

/// Length of an instruction in bytes.
pub const INSTRUCTION_LENGTH: usize = 8;

/// Where a program or a helper returns its result, and the scratch registers in which helpers take their arguments. A
/// call overwrites these six.
pub(super) const R0: u8 = 0;
pub(super) const R1: u8 = 1;
pub(super) const R2: u8 = 2;
pub(super) const R3: u8 = 3;
pub(super) const R4: u8 = 4;
pub(super) const R5: u8 = 5;
/// These survive calls.
pub(super) const R6: u8 = 6;
pub(super) const R7: u8 = 7;
pub(super) const R8: u8 = 8;
pub(super) const R9: u8 = 9;
/// The end of the stack, read only.
pub(super) const R10: u8 = 10;

/// The right operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Constant(u32),
    Register(u8),
}

/// Arithmetic (RFC 9669 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alu {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    Divide = 0x30,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Modulo = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
}

/// Comparisons, all of them unsigned (RFC 9669 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal = 0x10,
    Greater = 0x20,
    GreaterOrEqual = 0x30,
    AnyBit = 0x40,
    NotEqual = 0x50,
    Less = 0xa0,
    LessOrEqual = 0xb0,
}

/// Classes, and the bit that says that the operand is a register.
const LOAD: u8 = 0x61;
const LOAD_CLASS: u8 = 0x01;
const STORE_CLASS: u8 = 0x03;
const STORE_DOUBLE: u8 = 0x7b;
const LOAD_DOUBLE: u8 = 0x79;
const ALU32: u8 = 0x04;
const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const JUMP32: u8 = 0x06;
const REGISTER: u8 = 0x08;
const NEGATE: u8 = 0x80;
const TO_BIG_ENDIAN: u8 = 0xdc;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

impl Instruction {
    /// As the kernel of a little-endian machine reads it.
    pub const fn to_bytes(self) -> [u8; INSTRUCTION_LENGTH] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_le_bytes();
        [self.opcode, self.source << 4 | self.destination, o0, o1, i0, i1, i2, i3]
    }

    const fn new(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { opcode, destination, source, offset, immediate }
    }

    const fn with_operand(opcode: u8, destination: u8, operand: Operand) -> Self {
        match operand {
            Operand::Constant(constant) => Self::new(opcode, destination, 0, 0, constant.cast_signed()),
            Operand::Register(source) => Self::new(opcode | REGISTER, destination, source, 0, 0),
        }
    }

    /// Arithmetic of 32 bits: it sets the upper half of the register to 0.
    pub(super) const fn alu32(operation: Alu, destination: u8, operand: Operand) -> Self {
        Self::with_operand(operation as u8 | ALU32, destination, operand)
    }

    /// Arithmetic of 64 bits. A constant is extended with its sign.
    pub(super) const fn alu64(operation: Alu, destination: u8, operand: Operand) -> Self {
        Self::with_operand(operation as u8 | ALU64, destination, operand)
    }

    /// The two's complement of 32 bits.
    pub(super) const fn negate(register: u8) -> Self {
        Self::new(NEGATE | ALU32, register, 0, 0, 0)
    }

    /// Between the host's byte order and big-endian. A byte needs none.
    pub(super) const fn to_big_endian(register: u8, size: Size) -> Self {
        Self::new(TO_BIG_ENDIAN, register, 0, 0, size.bytes().cast_signed() * 8)
    }

    /// Loads bytes in the host's byte order, and sets the rest of the register to 0.
    pub(super) const fn load(size: Size, destination: u8, address: u8, offset: i16) -> Self {
        let size = match size {
            Size::Word => 0x00,
            Size::Half => 0x08,
            Size::Byte => 0x10,
        };
        Self::new(LOAD | size, destination, address, offset, 0)
    }

    /// Loads eight bytes.
    pub(super) const fn load_double(destination: u8, address: u8, offset: i16) -> Self {
        Self::new(LOAD_DOUBLE, destination, address, offset, 0)
    }

    /// Stores eight bytes.
    pub(super) const fn store_double(address: u8, offset: i16, source: u8) -> Self {
        Self::new(STORE_DOUBLE, address, source, offset, 0)
    }

    /// A jump. Where to is set later.
    pub(super) const fn jump() -> Self {
        Self::new(JUMP, 0, 0, 0, 0)
    }

    /// A jump if the lower halves of two registers, or of one and a constant, compare so.
    pub(super) const fn jump_if(comparison: Comparison, left: u8, right: Operand) -> Self {
        Self::with_operand(comparison as u8 | JUMP32, left, right)
    }

    /// A jump if two whole registers compare so. A constant is extended with its sign.
    pub(super) const fn jump_if64(comparison: Comparison, left: u8, right: Operand) -> Self {
        Self::with_operand(comparison as u8 | JUMP, left, right)
    }

    /// A call of one of the kernel's helpers.
    pub(super) const fn call(helper: i32) -> Self {
        Self::new(CALL, 0, 0, 0, helper)
    }

    /// The end.
    pub(super) const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }

    /// Whether what follows it is reached only by a jump.
    pub(super) const fn ends_flow(self) -> bool {
        self.opcode == JUMP || self.opcode == EXIT
    }
}

/// As LLVM writes it.
impl fmt::Display for Instruction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opcode, destination, source, offset, immediate } = *self;
        let (sign, distance) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
        let class = opcode & 0x07;
        let width = if matches!(class, ALU32 | JUMP32) { 'w' } else { 'r' };
        let bytes = match opcode & 0x18 {
            0x00 => "u32",
            0x08 => "u16",
            0x10 => "u8",
            _ => "u64",
        };
        let operation = match opcode & 0xf0 {
            0x00 => "+",
            0x10 => "-",
            0x20 => "*",
            0x30 => "/",
            0x40 => "|",
            0x50 => "&",
            0x60 => "<<",
            0x70 => ">>",
            0x90 => "%",
            0xa0 => "^",
            _ => "",
        };
        let comparison = match opcode & 0xf0 {
            0x10 => "==",
            0x20 => ">",
            0x30 => ">=",
            0x40 => "&",
            0x50 => "!=",
            0xa0 => "<",
            _ => "<=",
        };
        match opcode {
            EXIT => return formatter.write_str("exit"),
            CALL => return write!(formatter, "call {immediate}"),
            JUMP => return write!(formatter, "goto {sign}{distance}"),
            TO_BIG_ENDIAN => return write!(formatter, "r{destination} = be{immediate} r{destination}"),
            _ if opcode == NEGATE | ALU32 => return write!(formatter, "w{destination} = -w{destination}"),
            _ => {}
        }
        match class {
            LOAD_CLASS => {
                write!(formatter, "r{destination} = *({bytes} *)(r{source} {sign} {distance})")
            }
            STORE_CLASS => {
                write!(formatter, "*({bytes} *)(r{destination} {sign} {distance}) = r{source}")
            }
            JUMP | JUMP32 if opcode & REGISTER != 0 => {
                write!(
                    formatter,
                    "if {width}{destination} {comparison} {width}{source} goto {sign}{distance}"
                )
            }
            JUMP | JUMP32 => {
                write!(formatter, "if {width}{destination} {comparison} {immediate} goto {sign}{distance}")
            }
            _ if opcode & REGISTER != 0 => {
                write!(formatter, "{width}{destination} {operation}= {width}{source}")
            }
            _ => write!(formatter, "{width}{destination} {operation}= {immediate}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those that llvm-mc 22 makes of the text.
    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        use Operand::{Constant, Register};

        let jump = |instruction: Instruction, offset| Instruction { offset, ..instruction };
        for (text, instruction, bytes) in [
            ("r6 = r1", Instruction::alu64(Alu::Move, R6, Register(R1)), [0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            (
                "r0 = -1",
                Instruction::alu64(Alu::Move, R0, Constant(u32::MAX)),
                [0xb7, 0, 0, 0, 255, 255, 255, 255],
            ),
            ("w3 &= 15", Instruction::alu32(Alu::And, R3, Constant(15)), [0x54, 3, 0, 0, 15, 0, 0, 0]),
            ("w3 = -w3", Instruction::negate(R3), [0x84, 3, 0, 0, 0, 0, 0, 0]),
            ("r2 = be16 r2", Instruction::to_big_endian(R2, Size::Half), [0xdc, 2, 0, 0, 16, 0, 0, 0]),
            (
                "r2 = *(u8 *)(r7 + 23)",
                Instruction::load(Size::Byte, R2, R7, 23),
                [0x71, 0x72, 23, 0, 0, 0, 0, 0],
            ),
            (
                "r2 = *(u16 *)(r7 + 12)",
                Instruction::load(Size::Half, R2, R7, 12),
                [0x69, 0x72, 12, 0, 0, 0, 0, 0],
            ),
            (
                "r7 = *(u32 *)(r6 + 76)",
                Instruction::load(Size::Word, R7, R6, 76),
                [0x61, 0x67, 76, 0, 0, 0, 0, 0],
            ),
            (
                "r1 = *(u64 *)(r10 - 24)",
                Instruction::load_double(R1, R10, -24),
                [0x79, 0xa1, 0xe8, 0xff, 0, 0, 0, 0],
            ),
            (
                "*(u64 *)(r10 - 24) = r1",
                Instruction::store_double(R10, -24, R1),
                [0x7b, 0x1a, 0xe8, 0xff, 0, 0, 0, 0],
            ),
            ("goto +5", jump(Instruction::jump(), 5), [5, 0, 5, 0, 0, 0, 0, 0]),
            (
                "if w2 == 8 goto +1",
                jump(Instruction::jump_if(Comparison::Equal, R2, Constant(8)), 1),
                [0x16, 2, 1, 0, 8, 0, 0, 0],
            ),
            (
                "if w2 & 8 goto +1",
                jump(Instruction::jump_if(Comparison::AnyBit, R2, Constant(8)), 1),
                [0x46, 2, 1, 0, 8, 0, 0, 0],
            ),
            (
                "if r1 > r8 goto +1",
                jump(Instruction::jump_if64(Comparison::Greater, R1, Register(R8)), 1),
                [0x2d, 0x81, 1, 0, 0, 0, 0, 0],
            ),
            ("call 26", Instruction::call(26), [0x85, 0, 0, 0, 26, 0, 0, 0]),
            ("exit", Instruction::exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(instruction.to_bytes(), bytes, "{text}");
            assert_eq!(instruction.to_string(), text);
        }
    }
}
