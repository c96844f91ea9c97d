//! One copy of the program: its tests in their order, each reached on all ways from earlier ones.

use alloc::vec::Vec;

use super::{
    AssembleError, Hook, MOST_INSTRUCTIONS,
    assembler::{Assembler, Label},
    facts::{Facts, Held, Need},
    instruction::{Alu, Comparison, Instruction, Operand, R1, R2, R3},
};
use crate::program::{Field, Next, Program, Relation, Size, Test, Value};

/// Where control leaves the copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exits {
    pub(super) accept: Label,
    pub(super) reject: Label,
    /// Where the copy that reads through helpers begins; `None` if this is it.
    pub(super) slow: Option<Label>,
}

/// Why a test ends before its comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Control always goes elsewhere.
    Elsewhere,
    Malformed,
}

/// What decides which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always(bool),
    If(Comparison, u8, Operand),
}

/// Writes one copy.
pub(super) struct Generator<'a> {
    program: &'a Program,
    pub(super) hook: Hook,
    pub(super) exits: Exits,
    pub(super) assembler: &'a mut Assembler,
    needs: Vec<Need>,
    labels: Vec<Label>,
    /// What is known at the beginning of each test that can be reached from those that have been written.
    entries: Vec<Option<Facts>>,
    /// The facts where the next instruction is written.
    pub(super) facts: Facts,
    /// The need of the test that is written.
    pub(super) need: Need,
}

impl<'a> Generator<'a> {
    pub(super) fn new(program: &'a Program, hook: Hook, exits: Exits, assembler: &'a mut Assembler) -> Self {
        let count = program.tests.len();
        let needs =
            if exits.slow.is_some() { Need::of(program) } else { alloc::vec![Need::default(); count] };
        let labels = program.tests.iter().map(|_| assembler.label()).collect();
        let entries = alloc::vec![None; count];
        let facts = Facts::NONE;
        Self { program, hook, exits, assembler, needs, labels, entries, facts, need: Need::default() }
    }

    pub(super) fn run(mut self) -> Result<(), AssembleError> {
        let count = self.program.tests.len();
        self.arrive(self.program.entry, None).map_err(|_| AssembleError::Malformed { test: count })?;
        if self.next(0) != self.program.entry {
            self.go(self.program.entry);
        }
        for (index, test) in self.program.tests.iter().enumerate() {
            let Some(facts) = self.entries.get(index).copied().flatten() else { continue };
            if let Some(&label) = self.labels.get(index) {
                self.assembler.bind(label);
            }
            self.facts = facts;
            self.need = self.needs.get(index).copied().unwrap_or_default();
            match self.test(index, test) {
                Ok(()) | Err(Stop::Elsewhere) => {}
                Err(Stop::Malformed) => return Err(AssembleError::Malformed { test: index }),
            }
            if self.assembler.len() > MOST_INSTRUCTIONS {
                return Err(AssembleError::TooLong { instructions: self.assembler.len() });
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.assembler.push(instruction);
    }

    /// Where what cannot be done directly goes on.
    pub(super) fn slow(&self) -> Result<Label, Stop> {
        self.exits.slow.ok_or(Stop::Malformed)
    }

    /// Restarts.
    pub(super) fn go_slow(&mut self) -> Result<(), Stop> {
        let slow = self.slow()?;
        self.assembler.jump(Instruction::jump(), slow);
        Err(Stop::Elsewhere)
    }

    fn test(&mut self, index: usize, test: &Test) -> Result<(), Stop> {
        let condition = match (&test.left, test.relation, &test.right) {
            (Value::Constant(left), relation, Value::Constant(right)) => {
                Condition::Always(relation.holds(*left, *right))
            }
            (Value::Field(field), relation, Value::Constant(right)) => {
                self.field(*field, relation, *right)?
            }
            (left, relation, right) => {
                self.compute(left, 0)?;
                let comparison = Comparison::from(relation);
                if let Value::Constant(right) = right {
                    let left = self.computed(0, R1)?;
                    Condition::If(comparison, left, Operand::Constant(*right))
                } else {
                    self.compute(right, 1)?;
                    let left = self.computed(0, R1)?;
                    let right = self.computed(1, R2)?;
                    Condition::If(comparison, left, Operand::Register(right))
                }
            }
        };
        self.branch(index, condition, test.yes, test.no)
    }

    /// Compares a field with a constant. Its bytes need not be exchanged to find out about equality or bits: then the
    /// constant's are.
    fn field(&mut self, field: Field, relation: Relation, constant: u32) -> Result<Condition, Stop> {
        let held = self.hold(field)?;
        let bits = field.mask & all_bits(field.size);
        let all = !has_mask(field);
        let condition = match relation {
            Relation::Equal if constant & !bits != 0 => Condition::Always(false),
            Relation::Equal if all => {
                Condition::If(Comparison::Equal, R2, Operand::Constant(held.see(constant)))
            }
            Relation::Equal => {
                self.mask(held.see(bits));
                Condition::If(Comparison::Equal, R3, Operand::Constant(held.see(constant)))
            }
            Relation::AnyBit if bits & constant == 0 => Condition::Always(false),
            Relation::AnyBit => {
                Condition::If(Comparison::AnyBit, R2, Operand::Constant(held.see(bits & constant)))
            }
            Relation::Greater | Relation::GreaterOrEqual => {
                if !held.swapped && field.size != Size::Byte {
                    self.push(Instruction::to_big_endian(R2, field.size));
                }
                self.facts.held = Some(Held { swapped: true, ..held });
                let register = if all {
                    R2
                } else {
                    self.mask(bits);
                    R3
                };
                Condition::If(Comparison::from(relation), register, Operand::Constant(constant))
            }
        };
        Ok(condition)
    }

    /// R3 is those bits of R2.
    fn mask(&mut self, bits: u32) {
        self.push(Instruction::alu32(Alu::Move, R3, Operand::Register(R2)));
        self.push(Instruction::alu32(Alu::And, R3, Operand::Constant(bits)));
    }

    fn branch(&mut self, index: usize, condition: Condition, yes: Next, no: Next) -> Result<(), Stop> {
        let (comparison, left, right) = match condition {
            Condition::If(comparison, left, right) if yes != no => (comparison, left, right),
            Condition::If(..) | Condition::Always(true) => return self.continue_at(index, yes),
            Condition::Always(false) => return self.continue_at(index, no),
        };
        self.arrive(yes, Some(index))?;
        self.arrive(no, Some(index))?;
        let next = self.next(index + 1);
        if next == yes
            && let Some(opposite) = comparison.opposite()
        {
            self.assembler.jump(Instruction::jump_if(opposite, left, right), self.label(no));
        } else {
            self.assembler.jump(Instruction::jump_if(comparison, left, right), self.label(yes));
            if next != no {
                self.go(no);
            }
        }
        Ok(())
    }

    fn continue_at(&mut self, index: usize, next: Next) -> Result<(), Stop> {
        self.arrive(next, Some(index))?;
        if self.next(index + 1) != next {
            self.go(next);
        }
        Ok(())
    }

    fn go(&mut self, next: Next) {
        let label = self.label(next);
        self.assembler.jump(Instruction::jump(), label);
    }

    /// Control can get from here to there.
    fn arrive(&mut self, next: Next, from: Option<usize>) -> Result<(), Stop> {
        let Next::Test(next) = next else { return Ok(()) };
        let next = next as usize;
        match self.entries.get_mut(next) {
            Some(entry) if from.is_none_or(|from| from < next) => {
                *entry = Some(entry.map_or(self.facts, |facts| facts.common(self.facts)));
                Ok(())
            }
            _ => Err(Stop::Malformed),
        }
    }

    /// What is written next: the first test from `index` on that can be reached.
    fn next(&self, index: usize) -> Next {
        let reached = self.entries.iter().skip(index).position(Option::is_some);
        reached.map_or(Next::Reject, |position| Next::Test((index + position) as u32))
    }

    fn label(&self, next: Next) -> Label {
        match next {
            Next::Accept => self.exits.accept,
            Next::Reject => self.exits.reject,
            Next::Test(next) => self.labels.get(next as usize).copied().unwrap_or(self.exits.reject),
        }
    }
}

/// All bits of a value of this size.
const fn all_bits(size: Size) -> u32 {
    match size {
        Size::Byte => 0xff,
        Size::Half => 0xffff,
        Size::Word => u32::MAX,
    }
}

/// Whether some bits of the field do not count.
pub(super) const fn has_mask(field: Field) -> bool {
    !field.mask & all_bits(field.size) != 0
}

impl From<Relation> for Comparison {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::Equal => Self::Equal,
            Relation::Greater => Self::Greater,
            Relation::GreaterOrEqual => Self::GreaterOrEqual,
            Relation::AnyBit => Self::AnyBit,
        }
    }
}

impl Comparison {
    /// The comparison that holds if and only if this one does not, if there is an instruction for it.
    fn opposite(self) -> Option<Self> {
        match self {
            Self::Equal => Some(Self::NotEqual),
            Self::NotEqual => Some(Self::Equal),
            Self::Greater => Some(Self::LessOrEqual),
            Self::LessOrEqual => Some(Self::Greater),
            Self::GreaterOrEqual => Some(Self::Less),
            Self::Less => Some(Self::GreaterOrEqual),
            Self::AnyBit => None,
        }
    }
}

impl Held {
    /// The number as it looks in the register.
    fn see(self, number: u32) -> u32 {
        match self.size {
            _ if self.swapped => number,
            Size::Byte => number,
            Size::Half => u32::from((number as u16).swap_bytes()),
            Size::Word => number.swap_bytes(),
        }
    }
}
