//! The XDP sender: frames made in the kernel by running a program on them, without sockets or system calls per frame.
//!
//! The program gives each frame a source port and sends it on: up the stack of the namespace's loopback interface,
//! where the kernel believes test runs to take place, or through [`SENDER`] to an XDP program at the other end.

use std::{thread, time::Instant};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use test_support::namespace::Namespace;

use super::{cpu, namespace::SENDER, sender::Sent};
use crate::{
    bpf::{Kind, Program},
    frames::{FIRST_PORT, PORT, SOURCE_PORT, frame},
};

/// Where the frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Received on `lo` of the namespace.
    Loopback,
    /// Out of [`SENDER`].
    Wire,
}

/// Flows: a power of two.
const FLOWS: i32 = 8;

/// Sends `packets` frames from CPU 0: as fast as possible, or each not before the next multiple of so many nanoseconds.
/// (Several calls with pauses between them would not do: each takes tens of milliseconds to end.)
pub(super) fn flood(
    namespace: &Namespace,
    destination: Destination,
    packets: u64,
    period: Option<u32>,
) -> Result<Sent> {
    let count = u32::try_from(packets).context("too many frames")?;
    namespace.run(move || {
        let program = Program::load(Kind::Xdp, &program(destination, period)?)?;
        // In a thread of its own, because the namespace's own stays on whatever CPU it is given.
        let sender = thread::Builder::new().name("sender".to_owned()).spawn(move || {
            cpu::pin(0)?;
            let (start, cpu_start) = (Instant::now(), cpu::of_thread()?);
            program.send(&frame([10, 9, 0, 1], PORT, 0), count)?;
            let (wall, cpu) = (start.elapsed(), cpu::of_thread()? - cpu_start);
            Ok(Sent { packets, wall, cpu, typical: None })
        })?;
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    })
}

/// The program's instructions, named as in RFC 9669.
fn program(destination: Destination, period: Option<u32>) -> Result<Vec<u64>> {
    const PASS: i32 = 2;
    const GET_PRANDOM_U32: i32 = 7;
    const REDIRECT: i32 = 23;
    let mut program = vec![
        instruction(0x61, 6, 1, 0, 0), // r6 = context->data
        instruction(0x61, 7, 1, 4, 0), // r7 = context->data_end
    ];
    if let Some(period) = period {
        let period = i32::try_from(period).context("too long a period")?;
        program.extend(wait(period));
    }
    program.extend([
        instruction(0xbf, 2, 6, 0, 0),                      // r2 = r6
        instruction(0x07, 2, 0, 0, SOURCE_PORT as i32 + 2), // r2 += the end of the source port
        instruction(0x2d, 2, 7, 5, 0),                      // if r2 > r7, past the next five
        instruction(0x85, 0, 0, 0, GET_PRANDOM_U32),        // r0 = a random number
        instruction(0x57, 0, 0, 0, FLOWS - 1),              // r0 &= flows - 1
        instruction(0x07, 0, 0, 0, FIRST_PORT.into()),      // r0 += the first port
        instruction(0xdc, 0, 0, 0, 16),                     // r0 = to big endian
        instruction(0x6b, 6, 0, SOURCE_PORT as i16, 0),     // the source port = r0
    ]);
    match destination {
        Destination::Loopback => program.push(instruction(0xb7, 0, 0, 0, PASS)), // r0 = pass
        Destination::Wire => {
            let interface = if_nametoindex(SENDER).with_context(|| format!("no interface {SENDER}"))?;
            program.push(instruction(0xb7, 1, 0, 0, interface as i32)); // r1 = the interface
            program.push(instruction(0xb7, 2, 0, 0, 0)); // r2 = no flags
            program.push(instruction(0x85, 0, 0, 0, REDIRECT)); // r0 = redirect(r1, r2)
        }
    }
    program.push(instruction(0x95, 0, 0, 0, 0)); // exit
    Ok(program)
}

/// Instructions that wait until the clock has passed a multiple of `period` nanoseconds; they change r8 and r9.
fn wait(period: i32) -> [u64; 9] {
    const KTIME_GET_NS: i32 = 5;
    // The verifier wants an end: of several microseconds, as each look at the clock takes more than 10 ns.
    const LOOKS: i32 = 500;
    [
        instruction(0x85, 0, 0, 0, KTIME_GET_NS), // r0 = the time
        instruction(0x37, 0, 0, 0, period),       // r0 /= period
        instruction(0xbf, 8, 0, 0, 0),            // r8 = r0
        instruction(0xb7, 9, 0, 0, LOOKS),        // r9 = looks
        instruction(0x85, 0, 0, 0, KTIME_GET_NS), // r0 = the time
        instruction(0x37, 0, 0, 0, period),       // r0 /= period
        instruction(0x5d, 0, 8, 2, 0),            // if r0 != r8, past the next two
        instruction(0x07, 9, 0, 0, -1),           // r9 -= 1
        instruction(0x55, 9, 0, -5, 0),           // if r9 != 0, to the second look at the time
    ]
}

/// A program that does nothing but pass frames on.
pub(super) fn pass() -> Result<Program> {
    Program::load(Kind::Xdp, &[instruction(0xb7, 0, 0, 0, 2), instruction(0x95, 0, 0, 0, 0)])
}

/// One instruction (RFC 9669 section 3.1): opcode, destination and source register, offset, immediate.
pub(super) fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    let registers =
        if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    u64::from_ne_bytes([opcode, registers, o0, o1, i0, i1, i2, i3])
}
