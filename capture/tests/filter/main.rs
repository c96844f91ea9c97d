//! Compiled expressions in the kernel: whether the verifier takes them, what they say of packets, and what that costs.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of a test fail as tests do")]
#![expect(clippy::print_stdout, reason = "how much was compared is the result of a long run")]

mod expressions;
mod kernel;
mod random;

use capture_filter::{
    ebpf::{EbpfOptions, Hook, Instruction, assemble},
    interpret::Frame,
    program::Program,
};
use test_support::random::Random;

use kernel::Loaded;

/// The verdict of the program behind the tested one: no other one is the same.
const ACCEPTED: u32 = 77;

const HOOKS: [Hook; 2] = [Hook::Tc, Hook::Xdp];

/// The instructions and a program behind them.
fn with_end(mut instructions: Vec<Instruction>) -> Vec<Instruction> {
    let set = Instruction { opcode: 0xb7, destination: 0, source: 0, offset: 0, immediate: ACCEPTED as i32 };
    // R1 is the context again: the program behind reads the first number in it.
    let read = Instruction { opcode: 0x61, destination: 2, source: 1, offset: 0, immediate: 0 };
    let exit = Instruction { opcode: 0x95, destination: 0, source: 0, offset: 0, immediate: 0 };
    instructions.extend([read, set, exit]);
    instructions
}

fn load(program: &Program, options: &EbpfOptions) -> Loaded {
    let instructions = with_end(assemble(program, options).unwrap());
    Loaded::load(options.hook, &instructions).unwrap_or_else(|log| panic!("{options:?}, {program:#?}: {log}"))
}

/// What the verdict is to be if the packet is not accepted.
fn handed_on(hook: Hook) -> u32 {
    match hook {
        Hook::Tc => u32::MAX,
        Hook::Xdp => 2,
    }
}

/// What the kernel says of a packet of a test run: the loopback interface, and no tag.
fn frame(packet: &[u8]) -> Frame<'_> {
    Frame { data: packet, wire_len: packet.len() as u32, ifindex: 1, tag: None }
}

/// Whether the kernel runs programs on the packet: at TC not if an IP header is incomplete (net/bpf/test_run.c,
/// `bpf_prog_test_run_skb`).
fn is_runnable(hook: Hook, packet: &[u8]) -> bool {
    let least = match packet.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 15,
    };
    hook == Hook::Xdp || packet.len() >= least
}

/// How many verdicts are compared: `CAPTURE_FILTER_VERDICTS` for a long run.
fn verdicts() -> usize {
    std::env::var("CAPTURE_FILTER_VERDICTS").map_or(100_000, |count| count.parse().unwrap())
}

/// Compares the verdicts of the kernel with the interpreter's, direct and through helpers. How many, and how many of them
/// are to accept.
fn compare(what: &str, program: &Program, hook: Hook, packets: &[Vec<u8>]) -> [usize; 2] {
    let mut counts = [0; 2];
    for helpers_only in [false, true] {
        let options = EbpfOptions { hook, helpers_only };
        let loaded = load(program, &options);
        for packet in packets.iter().filter(|packet| is_runnable(hook, packet)) {
            let accepts = program.matches(&frame(packet));
            let expected = if accepts { ACCEPTED } else { handed_on(hook) };
            let found = loaded.run(packet, 1).verdict;
            assert_eq!(found, expected, "{what}, {options:?} {program:#?}\n{packet:02x?}");
            counts[0] += 1;
            counts[1] += usize::from(accepts);
        }
    }
    counts
}

/// Compares until there have been enough.
fn compare_many(mut next: impl FnMut(&mut Random, Hook) -> Option<(String, Program)>) {
    const PACKETS: usize = 64;

    let mut random = Random::new(verdicts() as u64);
    let mut programs = 0;
    let mut total = [0; 2];
    while total[0] < verdicts() {
        let hook = random.pick(&HOOKS);
        let Some((what, program)) = next(&mut random, hook) else { continue };
        let packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| random::packet(&mut random)).collect();
        let counts = compare(&what, &program, hook, &packets);
        total = [total[0] + counts[0], total[1] + counts[1]];
        programs += 1;
    }
    println!("{programs} programs, {} verdicts, {} of them to accept", total[0], total[1]);
}

#[test]
#[ignore = "needs root"]
fn random_programs_say_in_the_kernel_what_they_say_elsewhere() {
    compare_many(|random, _| Some(("random".to_owned(), random::program(random))));
}

#[test]
#[ignore = "needs root"]
fn random_expressions_say_in_the_kernel_what_they_say_elsewhere() {
    compare_many(|random, hook| {
        let only_tcp = random.one_in(2);
        let text = expressions::random(random);
        let program = expressions::compile(&text, hook, only_tcp)?;
        Some((text, program))
    });
}

#[test]
#[ignore = "needs root"]
fn expressions_of_daily_work_say_in_the_kernel_what_they_say_elsewhere() {
    let mut random = Random::new(1);
    let many = expressions::many_ports();
    for text in expressions::daily().into_iter().chain([many.as_str()]) {
        for hook in HOOKS {
            let program =
                expressions::compile(text, hook, false).unwrap_or_else(|| panic!("{text} is refused"));
            let packets: Vec<Vec<u8>> = (0..200).map(|_| random::packet(&mut random)).collect();
            compare(text, &program, hook, &packets);
        }
    }
}
