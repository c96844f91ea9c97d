//! Classic BPF: the language of packet sockets, and what `tcpdump -d` shows. A program becomes instructions that say the same of
//! each packet. They need not be those of tcpdump.

use alloc::{vec, vec::Vec};

mod block;
mod codes;
mod listing;

pub use listing::{c_array, listing, numbers};

use crate::program::{Field, Metadata, Next, Program};
use block::Block;
use codes::{JA, RET};

/// An instruction (linux/filter.h, `struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does: class, size and mode, or operation and source.
    pub code: u16,
    /// Instructions that a jump skips if its condition holds.
    pub jt: u8,
    /// Instructions that it skips if not.
    pub jf: u8,
    /// A constant, an offset, or a distance.
    pub k: u32,
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// The instructions of a program; what they return for a packet that matches is `snaplen`, otherwise 0.
pub fn assemble(program: &Program, snaplen: u32) -> Vec<Instruction> {
    let (accept, reject) = (plain(RET, snaplen), plain(RET, 0));
    if !matches!(program.entry, Next::Test(_)) || program.tests.is_empty() {
        return vec![if program.entry == Next::Accept { accept } else { reject }];
    }
    let known = Registers::before_each(program);
    // From the last instruction to the first, so that all distances are known.
    let mut reversed = vec![reject, accept];
    // Instructions from each test to the end.
    let mut positions = vec![0_usize; program.tests.len()];
    for (index, test) in program.tests.iter().enumerate().rev() {
        let known = known.get(index).copied().unwrap_or_default();
        let mut block = Block { instructions: Vec::new(), known };
        let comparison = block.compare(test);
        let position = |next: Next| match next {
            Next::Reject => 1,
            Next::Accept => 2,
            Next::Test(index) => positions.get(index as usize).copied().unwrap_or(1),
        };
        let (yes, no) = if comparison.is_exchanged { (test.no, test.yes) } else { (test.yes, test.no) };
        let far = |reversed: &mut Vec<Instruction>, next: Next| {
            let distance = reversed.len() - position(next);
            u8::try_from(distance).is_err().then(|| {
                reversed.push(plain(JA, distance as u32));
                reversed.len()
            })
        };
        // A jump that stands between makes the other one longer: the second is looked at behind the first.
        let no_position = far(&mut reversed, no);
        let yes_position = far(&mut reversed, yes);
        let no_position = match no_position {
            None if reversed.len() - position(no) > usize::from(u8::MAX) => far(&mut reversed, no),
            position => position,
        };
        let distance = |jump: Option<usize>, next: Next| {
            u8::try_from(reversed.len() - jump.unwrap_or_else(|| position(next))).unwrap_or(u8::MAX)
        };
        let (jt, jf) = (distance(yes_position, yes), distance(no_position, no));
        reversed.push(Instruction { code: comparison.code, jt, jf, k: comparison.k });
        reversed.extend(block.instructions.into_iter().rev());
        if let Some(place) = positions.get_mut(index) {
            *place = reversed.len();
        }
    }
    if let Next::Test(entry) = program.entry
        && entry != 0
    {
        let distance = reversed.len() - positions.get(entry as usize).copied().unwrap_or(1);
        reversed.push(plain(JA, distance as u32));
    }
    reversed.reverse();
    reversed
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Bytes of the frame, unmasked.
    Field(Field),
    /// What the kernel knows.
    Metadata(Metadata),
    /// The length of the IPv4 header at an offset.
    HeaderLength(u32),
}

/// What the registers hold, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Registers {
    a: Option<Content>,
    x: Option<Content>,
}

impl Registers {
    /// What they hold before each test, on every way to it.
    fn before_each(program: &Program) -> Vec<Self> {
        let mut before: Vec<Option<Self>> = vec![None; program.tests.len()];
        let arrive = |before: &mut Vec<Option<Self>>, next: Next, known: Self| {
            if let Next::Test(index) = next
                && let Some(place) = before.get_mut(index as usize)
            {
                *place = Some(match place {
                    None => known,
                    Some(other) => Self {
                        a: known.a.filter(|_| known.a == other.a),
                        x: known.x.filter(|_| known.x == other.x),
                    },
                });
            }
        };
        arrive(&mut before, program.entry, Self::default());
        for (index, test) in program.tests.iter().enumerate() {
            let known = before.get(index).copied().flatten().unwrap_or_default();
            let mut block = Block { instructions: Vec::new(), known };
            block.compare(test);
            arrive(&mut before, test.yes, block.known);
            arrive(&mut before, test.no, block.known);
        }
        before.into_iter().map(Option::unwrap_or_default).collect()
    }
}

#[cfg(test)]
mod tests;
