//! From a program to eBPF instructions that stand in front of another program, which sees only what they accept.
//!
//! ```text
//! in:  R1 = context     accept: on to the instruction after the last one, R1 = context
//!                       reject: exit, with a verdict that hands the packet on
//! ```
//!
//! The *direct* code reads the packet where it lies. It compares the packet's end only with what is not known yet
//! ([`facts`]). Whatever is not in the linear part of the packet restarts in a second copy of the program, which reads
//! through the kernel's helpers; there are no side effects that it could repeat.
//!
//! | register | direct | through helpers |
//! |---|---|---|
//! | R1 | scratch | scratch |
//! | R2 | the bytes of a field | the same, until the next call |
//! | R3, R4, R5, R0 | the values of a computation that fit | scratch |
//! | R6 | the context | the context |
//! | R7, R8 | the packet's first byte, and the one after the last that is linear | |
//! | R9 | first byte + length of an IPv4 header | offset of an IPv4 header's end |
//!
//! On the stack: 8 bytes that helpers write to, the packet's length at XDP, and the values of a computation that do not
//! fit into registers.

mod assembler;
mod compute;
mod facts;
mod generate;
mod instruction;
mod listing;
mod load;

use alloc::vec::Vec;
use core::fmt;

pub use instruction::{INSTRUCTION_LENGTH, Instruction};
pub use listing::listing;

use crate::program::{Metadata, Next, Program, Size, Test, Value, ValueStep};
use assembler::Assembler;
use generate::{Exits, Generator};
use instruction::{Alu, Comparison, Operand, R0, R1, R6, R7, R8, R10};

/// Instructions at most. The verifier follows a million on all ways together (include/linux/bpf.h,
/// `BPF_COMPLEXITY_LIMIT_INSNS`), and the program behind has its share.
pub const MOST_INSTRUCTIONS: usize = 200_000;

/// What the instructions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EbpfOptions {
    /// The kind of program that they stand in front of.
    pub hook: Hook,
    /// Whether all bytes are read through helpers. For tests: this is otherwise only for packets that are not linear.
    pub helpers_only: bool,
}

/// Kinds of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `BPF_PROG_TYPE_SCHED_CLS`. Its context is a `struct __sk_buff`.
    Tc,
    /// `BPF_PROG_TYPE_XDP`. Its context is a `struct xdp_md`. Needs Linux 5.18.
    Xdp,
}

/// Why there are no instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssembleError {
    /// There would be more than [`MOST_INSTRUCTIONS`].
    TooLong {
        /// How many there were when it gave up.
        instructions: usize,
    },
    /// The program breaks the rules of [`Program`]: a test leads to no later one, or a computation has too many values
    /// or too few.
    Malformed {
        /// The test's index, the number of tests for the entry.
        test: usize,
    },
}

impl fmt::Display for AssembleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { instructions } => write!(
                formatter,
                "the expression becomes more than {instructions} instructions, and there may be {MOST_INSTRUCTIONS}: \
                 shorten it"
            ),
            Self::Malformed { test } => {
                write!(formatter, "test {test} of the compiled expression is malformed")
            }
        }
    }
}

impl core::error::Error for AssembleError {}

/// The instructions that accept what the program accepts.
///
/// # Errors
///
/// When there would be too many, or the program is malformed.
pub fn assemble(program: &Program, options: &EbpfOptions) -> Result<Vec<Instruction>, AssembleError> {
    let mut assembler = Assembler::default();
    let accept = assembler.label();
    let reject = assembler.label();
    let hook = options.hook;
    if program.entry == Next::Accept {
        return Ok(Vec::new());
    }
    let entry = assembler.label();
    assembler.push(Instruction::alu64(Alu::Move, R6, Operand::Register(R1)));
    if hook == Hook::Xdp && program.tests.iter().any(reads_length) {
        assembler.push(Instruction::call(hook.length_helper()));
        assembler.push(Instruction::store_double(R10, LENGTH_SLOT, R0));
    }
    let exits = Exits { accept, reject, slow: (!options.helpers_only).then_some(entry) };
    if options.helpers_only {
        Generator::new(program, hook, exits, &mut assembler).run()?;
    } else {
        if program.tests.iter().any(reads_packet) {
            let (data, data_end) = hook.packet();
            assembler.push(Instruction::load(Size::Word, R7, R6, data));
            assembler.push(Instruction::load(Size::Word, R8, R6, data_end));
        }
        Generator::new(program, hook, exits, &mut assembler).run()?;
        if assembler.is_used(entry) {
            write_reject(&mut assembler, hook, reject);
            assembler.bind(entry);
            let reject = assembler.label();
            let exits = Exits { accept, reject, slow: None };
            Generator::new(program, hook, exits, &mut assembler).run()?;
            write_reject(&mut assembler, hook, reject);
        }
    }
    write_reject(&mut assembler, hook, reject);
    if !assembler.is_used(accept) {
        // The verifier looks for unreachable instructions before it knows how comparisons end.
        assembler = Assembler::default();
        let accept = assembler.label();
        assembler.push(Instruction::alu64(Alu::Move, R0, Operand::Constant(hook.verdict())));
        let never = Instruction::jump_if64(Comparison::NotEqual, R0, Operand::Constant(hook.verdict()));
        assembler.jump(never, accept);
        assembler.push(Instruction::exit());
        assembler.bind(accept);
        return Ok(assembler.into_instructions());
    }
    assembler.bind(accept);
    assembler.push(Instruction::alu64(Alu::Move, R1, Operand::Register(R6)));
    Ok(assembler.into_instructions())
}

/// The end of packets that are not accepted, if there are some.
fn write_reject(assembler: &mut Assembler, hook: Hook, reject: assembler::Label) {
    if assembler.is_used(reject) || assembler.is_reachable() {
        assembler.bind(reject);
        assembler.push(Instruction::alu64(Alu::Move, R0, Operand::Constant(hook.verdict())));
        assembler.push(Instruction::exit());
    }
}

/// Where on the stack the packet's length is at XDP.
const LENGTH_SLOT: i16 = -16;

impl Hook {
    /// The verdict that hands a packet on as if the program were not there.
    const fn verdict(self) -> u32 {
        match self {
            // TC_ACT_UNSPEC, which is TCX_NEXT.
            Self::Tc => u32::MAX,
            // XDP_PASS.
            Self::Xdp => 2,
        }
    }

    /// Where in the context the addresses of the packet and of its end are.
    const fn packet(self) -> (i16, i16) {
        match self {
            Self::Tc => (76, 80),
            Self::Xdp => (0, 4),
        }
    }

    /// `bpf_skb_load_bytes` (Linux 4.5), `bpf_xdp_load_bytes` (5.18).
    const fn load_helper(self) -> i32 {
        match self {
            Self::Tc => 26,
            Self::Xdp => 189,
        }
    }

    /// `bpf_xdp_get_buff_len` (5.18). At TC the context has the length.
    const fn length_helper(self) -> i32 {
        188
    }
}

fn reads_packet(test: &Test) -> bool {
    [&test.left, &test.right].into_iter().any(|value| match value {
        Value::Field(_) => true,
        Value::Computed(steps) => {
            steps.iter().any(|step| matches!(step, ValueStep::Field(_) | ValueStep::Indexed(_)))
        }
        Value::Constant(_) | Value::Metadata(_) => false,
    })
}

fn reads_length(test: &Test) -> bool {
    [&test.left, &test.right].into_iter().any(|value| match value {
        Value::Metadata(metadata) => *metadata == Metadata::Length,
        Value::Computed(steps) => steps.contains(&ValueStep::Metadata(Metadata::Length)),
        Value::Constant(_) | Value::Field(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Base, Field, Relation};

    fn test(base: Base, offset: u32, size: Size, right: u32, yes: Next, no: Next) -> Test {
        let mask = if size == Size::Word { u32::MAX } else { (1 << (8 * size.bytes())) - 1 };
        let left = Value::Field(Field { base, offset, size, mask });
        Test { left, relation: Relation::Equal, right: Value::Constant(right), yes, no }
    }

    fn listing(program: &Program, helpers_only: bool) -> Vec<String> {
        let instructions = assemble(program, &EbpfOptions { hook: Hook::Tc, helpers_only }).unwrap();
        instructions.iter().map(ToString::to_string).collect()
    }

    /// `ip and tcp dst port 80`, without fragments.
    fn port() -> Program {
        let payload = Base::Ipv4Payload { header: 14 };
        let tests = Vec::from([
            test(Base::Frame, 12, Size::Half, 0x0800, Next::Test(1), Next::Reject),
            test(Base::Frame, 23, Size::Byte, 6, Next::Test(2), Next::Reject),
            test(payload, 2, Size::Half, 80, Next::Accept, Next::Reject),
        ]);
        Program { entry: Next::Test(0), tests }
    }

    #[test]
    fn the_end_is_compared_once_for_each_address() {
        let direct = [
            "r6 = r1",
            "r7 = *(u32 *)(r6 + 76)",
            "r8 = *(u32 *)(r6 + 80)",
            "r1 = r7",
            "r1 += 24",
            "if r1 > r8 goto +15",
            "r2 = *(u16 *)(r7 + 12)",
            "if w2 != 8 goto +11",
            "r2 = *(u8 *)(r7 + 23)",
            "if w2 != 6 goto +9",
            "r9 = *(u8 *)(r7 + 14)",
            "r9 &= 15",
            "r9 <<= 2",
            "r9 += r7",
            "r1 = r9",
            "r1 += 18",
            "if r1 > r8 goto +4",
            "r2 = *(u16 *)(r9 + 16)",
            "if w2 == 20480 goto +43",
            "r0 = -1",
            "exit",
        ];
        let listing = listing(&port(), false);
        assert_eq!(listing[..direct.len()], direct);
        assert_eq!(listing.last().map(String::as_str), Some("r1 = r6"));
    }

    #[test]
    fn through_helpers_nothing_is_read_directly() {
        let listing = listing(&port(), true);
        assert_eq!(listing.iter().filter(|text| *text == "call 26").count(), 4);
        assert!(!listing.iter().any(|text| text.contains("(r7 ")), "{listing:#?}");
    }

    #[test]
    fn a_verdict_without_a_test_leaves_the_program_behind_reachable() {
        let program = |entry| Program { entry, tests: Vec::new() };
        assert_eq!(listing(&program(Next::Accept), false), [""; 0]);
        assert_eq!(listing(&program(Next::Reject), false), ["r0 = -1", "if r0 != -1 goto +1", "exit"]);
    }

    #[test]
    fn a_test_leads_to_a_later_one_only() {
        let mut program = port();
        program.tests[1].yes = Next::Test(1);
        let options = EbpfOptions { hook: Hook::Tc, helpers_only: false };
        assert_eq!(assemble(&program, &options), Err(AssembleError::Malformed { test: 1 }));
        program.entry = Next::Test(9);
        assert_eq!(assemble(&program, &options), Err(AssembleError::Malformed { test: 3 }));
    }
}
