//! Bytes of the packet, in a register.

use super::{
    facts::{DIRECT_REACH, Held, Payload},
    generate::{Generator, Stop},
    instruction::{Alu, Comparison, Instruction, Operand, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10},
};
use crate::program::{Base, Field, Size};

/// Where on the stack helpers write to.
const BUFFER: i16 = -8;

impl Generator<'_> {
    /// Loads a field's bytes, as they come, into R2, if they are not there in one order or the other.
    pub(super) fn hold(&mut self, field: Field) -> Result<Held, Stop> {
        if let Some(held) = self.facts.held.filter(|held| held.is(field)) {
            return Ok(held);
        }
        self.load(field, R2)?;
        let held = Held::of(field);
        self.facts.held = Some(held);
        Ok(held)
    }

    /// Loads a field's bytes, as they come.
    pub(super) fn load(&mut self, field: Field, to: u8) -> Result<(), Stop> {
        let Field { base, offset, size, .. } = field;
        if self.exits.slow.is_none() {
            let from = match base {
                Base::Frame => Operand::Constant(offset),
                Base::Ipv4Payload { header } => {
                    self.find_payload(header)?;
                    Operand::Register(R9)
                }
            };
            self.push(Instruction::alu32(Alu::Move, R2, from));
            if from == Operand::Register(R9) && offset != 0 {
                self.push(Instruction::alu32(Alu::Add, R2, Operand::Constant(offset)));
            }
            self.load_by_helper(size, to);
            return Ok(());
        }
        let end = offset.saturating_add(size.bytes());
        let (address, offset) = match base {
            Base::Frame if end <= DIRECT_REACH => {
                self.check_frame(end)?;
                (R7, offset)
            }
            Base::Ipv4Payload { header } if header.saturating_add(end) <= DIRECT_REACH => {
                self.find_payload(header)?;
                self.check_payload(header, header + end)?;
                (R9, header + offset)
            }
            _ => return self.go_slow(),
        };
        self.push(Instruction::load(size, to, address, offset as i16));
        if to == R2 {
            self.facts.held = None;
        }
        Ok(())
    }

    /// Loads the bytes at `field.offset` plus the number in register `index`, which is not R1, into that register.
    pub(super) fn load_indexed(&mut self, field: Field, index: u8) -> Result<(), Stop> {
        let Field { base, offset, size, .. } = field;
        if offset != 0 {
            self.push(Instruction::alu32(Alu::Add, index, Operand::Constant(offset)));
        }
        let (address, header) = match base {
            Base::Frame => (R7, 0),
            Base::Ipv4Payload { header } => (R9, header),
        };
        if header > DIRECT_REACH {
            return self.go_slow();
        }
        let slow = self.slow()?;
        // From this comparison the verifier knows how large the number is.
        let large = Instruction::jump_if64(Comparison::Greater, index, Operand::Constant(DIRECT_REACH));
        self.assembler.jump(large, slow);
        // This changes nothing. Without it the verifier of Linux 6.18 takes what was added above for an offset of the
        // pointer that is made here, and refuses it.
        self.push(Instruction::alu64(Alu::And, index, Operand::Constant(DIRECT_REACH)));
        self.push(Instruction::alu64(Alu::Add, index, Operand::Register(address)));
        self.compare_with_end(index, header + size.bytes())?;
        self.push(Instruction::load(size, index, index, header as i16));
        Ok(())
    }

    /// Loads the bytes at `field.offset` plus the number in R2, through the helper. Of an IPv4 payload R9 is known.
    pub(super) fn load_indexed_by_helper(&mut self, field: Field, to: u8) {
        if field.offset != 0 {
            self.push(Instruction::alu32(Alu::Add, R2, Operand::Constant(field.offset)));
        }
        if matches!(field.base, Base::Ipv4Payload { .. }) {
            self.push(Instruction::alu32(Alu::Add, R2, Operand::Register(R9)));
        }
        self.load_by_helper(field.size, to);
    }

    /// Loads the bytes at the offset in R2.
    fn load_by_helper(&mut self, size: Size, to: u8) {
        self.push(Instruction::alu64(Alu::Move, R1, Operand::Register(R6)));
        self.push(Instruction::alu64(Alu::Move, R3, Operand::Register(R10)));
        self.push(Instruction::alu64(Alu::Add, R3, Operand::Constant(i32::from(BUFFER).cast_unsigned())));
        self.push(Instruction::alu64(Alu::Move, R4, Operand::Constant(size.bytes())));
        self.push(Instruction::call(self.hook.load_helper()));
        self.facts.held = None;
        let failed = Instruction::jump_if64(Comparison::NotEqual, R0, Operand::Constant(0));
        self.assembler.jump(failed, self.exits.reject);
        self.push(Instruction::load(size, to, R10, BUFFER));
    }

    /// R9 is the end of the IPv4 header at `header`.
    pub(super) fn find_payload(&mut self, header: u32) -> Result<(), Stop> {
        if self.facts.payload.is_some_and(|payload| payload.header == header) {
            return Ok(());
        }
        let version_ihl = Field { base: Base::Frame, offset: header, size: Size::Byte, mask: 0x0f };
        self.load(version_ihl, R9)?;
        self.push(Instruction::alu64(Alu::And, R9, Operand::Constant(0x0f)));
        self.push(Instruction::alu64(Alu::ShiftLeft, R9, Operand::Constant(2)));
        if self.exits.slow.is_some() {
            // The header's own offset is in that of the loads.
            self.push(Instruction::alu64(Alu::Add, R9, Operand::Register(R7)));
        } else if header != 0 {
            self.push(Instruction::alu32(Alu::Add, R9, Operand::Constant(header)));
        }
        self.facts.payload = Some(Payload { header, length: 0 });
        Ok(())
    }

    /// The frame has `end` bytes, or the program restarts.
    fn check_frame(&mut self, end: u32) -> Result<(), Stop> {
        if self.facts.frame < end {
            let end = end.max(self.need.frame);
            self.compare_with_end(R7, end)?;
            self.facts.frame = end;
        }
        Ok(())
    }

    /// There are `end` bytes from the address in R9 on, which [`find_payload`](Self::find_payload) has set, or the
    /// program restarts.
    fn check_payload(&mut self, header: u32, end: u32) -> Result<(), Stop> {
        if self.facts.payload.is_none_or(|payload| payload.length < end) {
            let needed = self.need.payload.filter(|payload| payload.header == header);
            let length = end.max(needed.map_or(0, |payload| payload.length));
            self.compare_with_end(R9, length)?;
            self.facts.payload = Some(Payload { header, length });
        }
        Ok(())
    }

    /// There are `length` bytes from the address on, or the program restarts. In the form in which the verifier learns
    /// from it (kernel/bpf/verifier.c, `find_good_pkt_pointers`).
    fn compare_with_end(&mut self, address: u8, length: u32) -> Result<(), Stop> {
        let slow = self.slow()?;
        self.push(Instruction::alu64(Alu::Move, R1, Operand::Register(address)));
        self.push(Instruction::alu64(Alu::Add, R1, Operand::Constant(length)));
        let beyond = Instruction::jump_if64(Comparison::Greater, R1, Operand::Register(R8));
        self.assembler.jump(beyond, slow);
        Ok(())
    }
}
