//! Instructions in a row, with jumps forward to places that are not known yet.

use alloc::{collections::VecDeque, vec::Vec};

use super::instruction::Instruction;

/// How far a jump reaches at most, less what is written before the next check.
const REACH: usize = i16::MAX as usize - 8;
/// Jumps that would have to be led on within so many instructions are led on together.
const SOON: usize = 4096;

/// A place that jumps lead to. It comes after all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Writes instructions. A jump whose offset does not fit into its 16 bits is led on by others on the way.
///
/// The verifier refuses instructions that cannot be reached (kernel/bpf/verifier.c, `check_cfg`), so a caller has
/// to ask [`is_reachable`](Self::is_reachable) where that is not certain.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Of each label, the jumps that lead to it and do not know yet where it is, in ascending order.
    waiting: Vec<Vec<usize>>,
    /// All jumps that wait, and some that do no longer, in ascending order.
    jumps: VecDeque<(usize, Label)>,
    /// Whether the last instruction does not lead on to the next one.
    ended: bool,
}

impl Assembler {
    /// A new place.
    pub(super) fn label(&mut self) -> Label {
        self.waiting.push(Vec::new());
        Label(self.waiting.len() - 1)
    }

    /// Whether a jump to the label has been written.
    pub(super) fn is_used(&self, label: Label) -> bool {
        self.waiting.get(label.0).is_some_and(|places| !places.is_empty())
    }

    /// Whether an instruction that is written now can be reached.
    pub(super) fn is_reachable(&self) -> bool {
        !self.ended
    }

    pub(super) fn len(&self) -> usize {
        self.code.len()
    }

    /// The label is here.
    pub(super) fn bind(&mut self, label: Label) {
        let Some(places) = self.waiting.get_mut(label.0).map(core::mem::take) else { return };
        for place in places {
            self.lead(place, self.code.len());
            self.ended = false;
        }
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.lead_on();
        self.ended = instruction.ends_flow();
        self.code.push(instruction);
    }

    /// Writes a jump, conditional or not, to a label.
    pub(super) fn jump(&mut self, instruction: Instruction, label: Label) {
        self.push(instruction);
        self.wait(self.code.len() - 1, label);
    }

    /// Skips the next instruction if the comparison holds. Nothing comes between the three.
    pub(super) fn skip(&mut self, jump: Instruction, skipped: Instruction) {
        self.push(Instruction { offset: 1, ..jump });
        self.code.push(skipped);
    }

    pub(super) fn into_instructions(self) -> Vec<Instruction> {
        self.code
    }

    fn wait(&mut self, place: usize, label: Label) {
        if let Some(places) = self.waiting.get_mut(label.0) {
            places.push(place);
            self.jumps.push_back((place, label));
        }
    }

    /// Leads the jump at `place` to `target`.
    fn lead(&mut self, place: usize, target: usize) {
        if let Some(jump) = self.code.get_mut(place) {
            // `lead_on` keeps distances below REACH.
            jump.offset = i16::try_from(target - place - 1).unwrap_or(i16::MAX);
        }
    }

    /// Whether the jump at `place` still has to find out where the label is.
    fn waits(&self, place: usize, label: Label) -> bool {
        self.waiting.get(label.0).is_some_and(|places| places.binary_search(&place).is_ok())
    }

    /// Writes jumps that lead on those which otherwise could not reach the next instruction.
    fn lead_on(&mut self) {
        while let Some(&(place, label)) = self.jumps.front() {
            if self.waits(place, label) {
                if place + REACH > self.code.len() {
                    return;
                }
                break;
            }
            self.jumps.pop_front();
        }
        if self.jumps.is_empty() {
            return;
        }
        // What comes before goes around.
        let around = (!self.ended).then(|| {
            self.code.push(Instruction::jump());
            self.code.len() - 1
        });
        // The k-th of them is written k instructions further on, and its jump stands at least k further on, too.
        let soon = self.code.len() + SOON;
        while let Some(&(place, label)) = self.jumps.front() {
            if place + REACH > soon {
                break;
            }
            self.jumps.pop_front();
            if !self.waits(place, label) {
                continue;
            }
            let here = self.code.len();
            self.code.push(Instruction::jump());
            for place in self.waiting.get_mut(label.0).map(core::mem::take).unwrap_or_default() {
                self.lead(place, here);
            }
            self.wait(here, label);
        }
        if let Some(around) = around {
            self.lead(around, self.code.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebpf::instruction::{Alu, Comparison, Operand, R0, R2};

    /// Where one gets from `place`, following jumps that always jump.
    fn destination(code: &[Instruction], mut place: usize) -> usize {
        loop {
            place = place + 1 + code[place].offset as usize;
            if code[place].opcode != Instruction::jump().opcode {
                return place;
            }
        }
    }

    #[test]
    fn a_jump_reaches_however_far_its_label_is() {
        let nothing = Instruction::alu32(Alu::Move, R2, Operand::Constant(7));
        let conditional = Instruction::jump_if(Comparison::Equal, R0, Operand::Constant(1));
        let mut assembler = Assembler::default();
        let [near, far] = [(); 2].map(|()| assembler.label());
        let mut jumps = Vec::new();
        for number in 0..100_000 {
            let label = match number {
                50_000 => {
                    assembler.bind(near);
                    far
                }
                ..50_000 if number % 3 == 0 => near,
                _ => far,
            };
            if number % 2 == 0 {
                assembler.jump(conditional, label);
                jumps.push((assembler.len() - 1, label));
            } else {
                assembler.push(nothing);
            }
        }
        let bound = assembler.len();
        assembler.bind(far);
        assembler.push(Instruction::exit());
        let code = assembler.into_instructions();
        let near_at =
            jumps.iter().find(|(_, label)| *label == near).map(|&(place, _)| destination(&code, place));
        for (place, label) in jumps {
            let expected = if label == far { bound } else { near_at.expect("there are some") };
            assert_eq!(destination(&code, place), expected, "from {place}");
        }
        // No instruction runs that was not written: all that was added is jumped around.
        let mut place = 0;
        let mut run = 0;
        while code[place] != Instruction::exit() {
            if code[place].opcode == Instruction::jump().opcode {
                place += code[place].offset as usize;
            } else {
                run += 1;
            }
            place += 1;
        }
        assert_eq!(run, 100_000);
    }

    #[test]
    fn no_jump_is_written_where_it_cannot_be_reached() {
        let mut assembler = Assembler::default();
        let [far, next] = [(); 2].map(|()| assembler.label());
        let conditional = Instruction::jump_if(Comparison::Equal, R0, Operand::Constant(1));
        assembler.jump(conditional, far);
        assembler.jump(conditional, next);
        while assembler.len() < REACH - 1 {
            assembler.push(Instruction::call(1));
        }
        assembler.push(Instruction::exit());
        assert!(!assembler.is_reachable());
        assembler.bind(next);
        assert!(assembler.is_reachable());
        let at = assembler.len();
        assembler.push(Instruction::call(2));
        // `next` is here, so one has to go around what leads on to `far`.
        let code = assembler.into_instructions();
        assert_eq!((code[at].offset, code[at].opcode), (1, Instruction::jump().opcode));
        assert_eq!(code.len(), at + 3);
    }
}
