//! Instructions in the kernel: loaded as they are, and run on packets.

use std::os::fd::{AsFd as _, OwnedFd};

use capture_filter::ebpf::{Hook, Instruction};
use test_support::bpf::{self, ProgramType, Run};

/// A loaded program.
pub(crate) struct Loaded(OwnedFd);

impl Loaded {
    /// Loads instructions. The verifier's words, if it refuses.
    pub(crate) fn load(hook: Hook, instructions: &[Instruction]) -> Result<Self, String> {
        let code: Vec<u8> = instructions.iter().flat_map(|instruction| instruction.to_bytes()).collect();
        let program_type = match hook {
            Hook::Tc => ProgramType::SchedCls,
            Hook::Xdp => ProgramType::Xdp,
        };
        let loaded = bpf::load(program_type, &code, &mut []).or_else(|_| {
            let mut log = vec![0; 16 << 20];
            bpf::load(program_type, &code, &mut log).map_err(|error| {
                let said = bpf::words(&log);
                let lines: Vec<&str> = said.lines().collect();
                format!("{error}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
            })
        });
        loaded.map(Self)
    }

    /// Runs it on a packet.
    pub(crate) fn run(&self, packet: &[u8], repeat: u32) -> Run {
        let run = bpf::run(self.0.as_fd(), packet, repeat, 0);
        run.unwrap_or_else(|error| panic!("{error}: {packet:02x?}"))
    }
}
