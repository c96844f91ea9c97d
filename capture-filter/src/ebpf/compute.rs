//! Values of 32 bits, in registers.

use super::{
    Hook, LENGTH_SLOT,
    generate::{Generator, Stop, has_mask},
    instruction::{Alu, Comparison, Instruction, Operand, R0, R1, R2, R3, R4, R5, R6, R10},
};
use crate::program::{Base, Field, MAX_DEPTH, Metadata, Operator, Size, Value, ValueStep};

/// Where the first values of a computation are, in direct code.
const REGISTERS: [u8; 4] = [R3, R4, R5, R0];
/// Where on the stack the value of depth 0 would be; each further one is 8 bytes below.
const SLOTS: i16 = LENGTH_SLOT - 8;
/// Values of both sides of a comparison.
const MOST_VALUES: usize = 2 * MAX_DEPTH;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Register(u8),
    /// An offset from the end of the stack.
    Stack(i16),
}

impl Generator<'_> {
    /// Computes a value as the one of `depth` on the stack of values.
    pub(super) fn compute(&mut self, value: &Value, depth: usize) -> Result<(), Stop> {
        let single;
        let steps = match value {
            Value::Constant(constant) => {
                single = [ValueStep::Constant(*constant)];
                &single[..]
            }
            Value::Field(field) => {
                single = [ValueStep::Field(*field)];
                &single[..]
            }
            Value::Metadata(metadata) => {
                single = [ValueStep::Metadata(*metadata)];
                &single[..]
            }
            Value::Computed(steps) => steps,
        };
        let mut top = depth;
        let mut steps = steps.iter().copied().peekable();
        while let Some(step) = steps.next() {
            if let ValueStep::Constant(constant) = step
                && let Some(&ValueStep::Binary(operator)) = steps.peek()
                && !(constant == 0 && matches!(operator, Operator::Divide | Operator::Modulo))
            {
                steps.next();
                let left = self.below(top, depth, 1)?;
                self.operate(operator, left, Operand::Constant(constant));
                continue;
            }
            match step {
                ValueStep::Binary(operator) => {
                    let left = self.below(top, depth, 2)?;
                    let right = self.below(top, depth, 1)?;
                    let right = self.read(right, R1);
                    self.operate(operator, left, Operand::Register(right));
                    top -= 1;
                }
                ValueStep::Negate => {
                    let place = self.below(top, depth, 1)?;
                    let register = self.read(place, R2);
                    self.push(Instruction::negate(register));
                    self.write(place, register);
                }
                ValueStep::Indexed(field) => {
                    let place = self.below(top, depth, 1)?;
                    self.index(field, place)?;
                }
                ValueStep::Constant(_) | ValueStep::Metadata(_) | ValueStep::Field(_) => {
                    let place = self.place(top)?;
                    self.produce(step, place)?;
                    top += 1;
                }
            }
        }
        if top == depth + 1 { Ok(()) } else { Err(Stop::Malformed) }
    }

    /// The register with the value of `depth`: `spare` if it is on the stack.
    pub(super) fn computed(&mut self, depth: usize, spare: u8) -> Result<u8, Stop> {
        let place = self.place(depth)?;
        Ok(self.read(place, spare))
    }

    fn place(&self, depth: usize) -> Result<Place, Stop> {
        if depth >= MOST_VALUES {
            return Err(Stop::Malformed);
        }
        match REGISTERS.get(depth) {
            Some(&register) if self.exits.slow.is_some() => Ok(Place::Register(register)),
            _ => Ok(Place::Stack(SLOTS - 8 * depth as i16)),
        }
    }

    /// Where the value is that is `count` below `top`, not below `bottom`.
    fn below(&self, top: usize, bottom: usize, count: usize) -> Result<Place, Stop> {
        match top.checked_sub(count) {
            Some(depth) if depth >= bottom => self.place(depth),
            _ => Err(Stop::Malformed),
        }
    }

    fn read(&mut self, place: Place, spare: u8) -> u8 {
        match place {
            Place::Register(register) => register,
            Place::Stack(offset) => {
                self.push(Instruction::load_double(spare, R10, offset));
                if spare == R2 {
                    self.facts.held = None;
                }
                spare
            }
        }
    }

    fn write(&mut self, place: Place, register: u8) {
        match place {
            Place::Register(own) if own == register => {}
            Place::Register(own) => {
                self.push(Instruction::alu32(Alu::Move, own, Operand::Register(register)))
            }
            Place::Stack(offset) => self.push(Instruction::store_double(R10, offset, register)),
        }
    }

    /// What does not depend on other values.
    fn produce(&mut self, step: ValueStep, place: Place) -> Result<(), Stop> {
        let register = match place {
            Place::Register(register) => register,
            Place::Stack(_) => R1,
        };
        match step {
            ValueStep::Constant(constant) => {
                self.push(Instruction::alu32(Alu::Move, register, Operand::Constant(constant)));
            }
            ValueStep::Metadata(metadata) => self.metadata(metadata, register),
            ValueStep::Field(field) => match self.facts.held.filter(|held| held.is(field)) {
                Some(held) => {
                    self.push(Instruction::alu32(Alu::Move, register, Operand::Register(R2)));
                    self.number(field, register, held.swapped);
                }
                None => {
                    self.load(field, register)?;
                    self.number(field, register, false);
                }
            },
            _ => return Err(Stop::Malformed),
        }
        self.write(place, register);
        Ok(())
    }

    /// Makes the field's value of its bytes.
    fn number(&mut self, field: Field, register: u8, swapped: bool) {
        if !swapped && field.size != Size::Byte {
            self.push(Instruction::to_big_endian(register, field.size));
        }
        if has_mask(field) {
            self.push(Instruction::alu32(Alu::And, register, Operand::Constant(field.mask)));
        }
    }

    fn metadata(&mut self, metadata: Metadata, register: u8) {
        let offset = match (self.hook, metadata) {
            (Hook::Xdp, Metadata::Length) => {
                self.push(Instruction::load(Size::Word, register, R10, LENGTH_SLOT));
                return;
            }
            // XDP has no tags outside of the frame, and no hook has what only packet sockets say.
            (Hook::Xdp, Metadata::TagPresent | Metadata::TagControl) | (_, Metadata::PacketType) => {
                self.push(Instruction::alu32(Alu::Move, register, Operand::Constant(0)));
                return;
            }
            (Hook::Xdp, Metadata::IfIndex) => 12,
            (Hook::Tc, Metadata::Length) => 0,
            (Hook::Tc, Metadata::IfIndex) => 40,
            (Hook::Tc, Metadata::TagPresent) => 20,
            (Hook::Tc, Metadata::TagControl) => 24,
        };
        self.push(Instruction::load(Size::Word, register, R6, offset));
    }

    fn index(&mut self, field: Field, place: Place) -> Result<(), Stop> {
        if let Base::Ipv4Payload { header } = field.base {
            self.find_payload(header)?;
        }
        let register = self.read(place, R2);
        let register = if self.exits.slow.is_some() {
            self.load_indexed(field, register)?;
            register
        } else {
            self.load_indexed_by_helper(field, R1);
            R1
        };
        self.number(field, register, false);
        self.write(place, register);
        Ok(())
    }

    /// `left` becomes `left operator right`. If `right` is a register, it is not R2.
    fn operate(&mut self, operator: Operator, left: Place, right: Operand) {
        let register = self.read(left, R2);
        let operation = match operator {
            Operator::Add => Alu::Add,
            Operator::Subtract => Alu::Subtract,
            Operator::Multiply => Alu::Multiply,
            Operator::Divide => Alu::Divide,
            Operator::Modulo => Alu::Modulo,
            Operator::And => Alu::And,
            Operator::Or => Alu::Or,
            Operator::Xor => Alu::Xor,
            Operator::ShiftLeft => Alu::ShiftLeft,
            Operator::ShiftRight => Alu::ShiftRight,
        };
        match (operator, right) {
            (Operator::Divide | Operator::Modulo, Operand::Register(divisor)) => {
                let zero = Instruction::jump_if(Comparison::Equal, divisor, Operand::Constant(0));
                self.assembler.jump(zero, self.exits.reject);
                self.push(Instruction::alu32(operation, register, right));
            }
            (Operator::ShiftLeft | Operator::ShiftRight, Operand::Register(count)) => {
                let fits = Instruction::jump_if(Comparison::Less, count, Operand::Constant(32));
                let none = Instruction::alu32(Alu::Move, register, Operand::Constant(0));
                self.assembler.skip(fits, none);
                // Of 0 remains 0, whatever the count.
                self.push(Instruction::alu32(operation, register, right));
            }
            (Operator::ShiftLeft | Operator::ShiftRight, Operand::Constant(32..)) => {
                self.push(Instruction::alu32(Alu::Move, register, Operand::Constant(0)));
            }
            _ => self.push(Instruction::alu32(operation, register, right)),
        }
        self.write(left, register);
    }
}
