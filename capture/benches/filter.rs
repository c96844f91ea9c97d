//! What compiled expressions cost in the kernel: nanoseconds above a program that only hands packets on, by
//! BPF_PROG_TEST_RUN, for a packet of another connection and for one that is accepted, if one is found.
//!
//!     cargo bench -p capture --bench filter                    # those of daily work; as root
//!     cargo bench -p capture --bench filter -- 'tcp port 80'   # one, with its instructions

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it measures, and nothing else depends on it"
)]

#[path = "../tests/filter/expressions.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod expressions;
#[path = "../tests/filter/kernel.rs"]
mod kernel;
#[path = "../tests/filter/random.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod random;

use capture_filter::{
    ebpf::{EbpfOptions, Hook, Instruction, assemble},
    interpret::Frame,
};
use test_support::random::Random;

use kernel::Loaded;

/// Short runs, so that some of them are not interrupted; the shortest counts.
const REPEAT: u32 = 5_000;
const RUNS: usize = 60;

fn main() {
    // `cargo bench` and `cargo test --benches` say how they run it.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let chosen = arguments.next();
    let many = expressions::many_ports();
    let texts: Vec<&str> = match &chosen {
        Some(text) => vec![text],
        None => expressions::daily().into_iter().chain(["tcp port 8888", &many]).collect(),
    };
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut random = Random::new(1);
    let packets: Vec<Vec<u8>> = (0..2000).map(|_| random::packet(&mut random)).collect();
    let other = other_connection();
    for hook in [Hook::Tc, Hook::Xdp] {
        let verdict = |verdict| [instruction(0xb7, verdict), instruction(0x95, 0)];
        let nothing = Loaded::load(hook, &verdict(2)).expect("it loads");
        let base = (0..10).map(|_| least(&nothing, &other)).min().unwrap_or_default();
        println!("{hook:?}: {base} ns for nothing");
        for text in &texts {
            let program = expressions::compile(text, hook, true);
            let program = program.unwrap_or_else(|| panic!("{text} is refused"));
            let mut instructions =
                assemble(&program, &EbpfOptions { hook, helpers_only: false }).expect("it is short");
            if chosen.is_some() {
                for (number, instruction) in instructions.iter().enumerate() {
                    println!("{number:4}: {instruction}");
                }
            }
            let count = instructions.len();
            instructions.extend(verdict(3));
            let loaded = Loaded::load(hook, &instructions).expect("the verifier takes it");
            let above = |packet: &[u8]| i64::from(least(&loaded, packet)) - i64::from(base);
            let is_accepted = |packet: &[u8]| program.matches(&frame(packet));
            let accepted = packets.iter().find(|packet| packet.len() > 53 && is_accepted(packet));
            let accepted = accepted.map_or_else(|| "-".to_owned(), |packet| above(packet).to_string());
            let others = if is_accepted(&other) { "accepted" } else { "rejected" };
            println!(
                "{:3} ns, {others}; {accepted:>3} ns accepted; {:4} tests, {count:5} instructions: {}",
                above(&other),
                program.tests.len(),
                text.get(..70).unwrap_or(text)
            );
        }
    }
}

/// Nanoseconds of a run.
fn least(loaded: &Loaded, packet: &[u8]) -> u32 {
    (0..RUNS).map(|_| loaded.run(packet, REPEAT).duration).min().unwrap_or_default()
}

fn instruction(opcode: u8, immediate: i32) -> Instruction {
    Instruction { opcode, destination: 0, source: 0, offset: 0, immediate }
}

fn frame(packet: &[u8]) -> Frame<'_> {
    Frame { data: packet, wire_len: packet.len() as u32, ifindex: 1, tag: None }
}

/// A segment between two hosts that no expression asks for.
fn other_connection() -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0];
    packet.extend([0x45, 0, 0, 90, 0, 1, 0x40, 0, 64, 6, 0, 0, 203, 0, 113, 7, 198, 51, 100, 9]);
    packet.extend([0xb0, 0x01, 0xc0, 0x02, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 16, 1, 0, 0, 0, 0, 0]);
    packet.extend([0; 50]);
    packet
}
